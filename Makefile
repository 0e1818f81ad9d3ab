# The few commands of README; each ends in xtask, which says what it does.
.PHONY: run test build docker-image full-kernel measure soak fuzz
run test build docker-image full-kernel measure soak fuzz:
	@[ -e target/debug/xtask ] || echo 'Compiling what builds all the rest (xtask)' >&2
	@cargo xtask setup
	@cargo xtask $@
