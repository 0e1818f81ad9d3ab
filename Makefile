# The few commands of README; each ends in xtask, which says what it does.
.PHONY: run test build measure soak
run test build measure soak:
	@[ -e target/debug/xtask ] || echo 'Compiling what builds all the rest (xtask)' >&2
	@cargo xtask setup
	@cargo xtask $@
