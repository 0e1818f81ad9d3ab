# The few commands of README; each ends in xtask, which says what it does.
XTASK = cargo xtask

.PHONY: run test build measure soak
run test build measure soak:
	$(XTASK) setup
	$(XTASK) $@
