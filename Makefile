# make build | run | test | lint | bench | conformance | engines | engines-fast | engines-doc | rootless-test
#      | vm-test | torture | mutation | fuzz | analyze | sanitize | format | clean
#      | error-docs | errors-compared | conformance-doc | command-docs | vocabulary | opcodes | shapes (generated)
PYTHON ?= /usr/bin/python3
VENV := .venv
export OCI_RUNTIME ?= $(CURDIR)/$(VENV)/bin/pyrunc

BUILD_PACKAGES := gcc libc6-dev python3-dev python3-venv python3-pip busybox-static libseccomp2
BUILD_REQUIRES := 'meson-python>=0.16' ninja cffi
ENGINES := busybox-static podman buildah conmon catatonit docker.io containerd runc criu \
	containernetworking-plugins iptables iproute2 util-linux
CLIENTS := docker podman grpcio grpcio-tools
TOOLS := click jsonschema pytest hypothesis ruff mypy
SOURCES := $(shell find pyrunc contrib scripts/command_docs.py build.py meson.build pyproject.toml -type f \
	! -name '*.pyc')
NATIVE := $(wildcard pyrunc/_native/*.c pyrunc/_native/*.h)

# Installs those of the named Debian packages that are missing, where we may.
define apt
@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	missing=$$(for name in $(1); do \
		dpkg-query -W -f '$${Status}' $$name 2>/dev/null | grep -q 'ok installed' || echo $$name; \
	done); \
	if [ -n "$$missing" ]; then \
		echo "apt-get install" $$missing; \
		export DEBIAN_FRONTEND=noninteractive; \
		apt-get update -qq >/dev/null && \
		apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi; \
fi
endef

.PHONY: build run test lint bench conformance engines engines-fast engines-doc rootless-test vm-test torture mutation fuzz analyze sanitize error-docs errors-compared conformance-doc command-docs vocabulary opcodes shapes format clean tools engine-tools
build: $(VENV)/.installed

tools: $(VENV)/.tools

$(VENV)/.tools: Makefile
	$(call apt,$(BUILD_PACKAGES))
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install -q --disable-pip-version-check $(BUILD_REQUIRES) $(TOOLS)
	touch $@

# One at a time: pip takes the installed package away before it puts the new one there.
$(VENV)/.installed: $(VENV)/.tools $(SOURCES)
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" flock $(VENV)/.lock $(VENV)/bin/pip install -q \
		--disable-pip-version-check --no-build-isolation --no-deps --force-reinstall \
		--config-settings=build-dir=build .
	$(VENV)/bin/python -m compileall -q $(VENV)/lib/python3*/site-packages/pyrunc
	-$(VENV)/bin/pyrunc snapshot >/dev/null
	touch $@

run: build
	sh scripts/demo.sh
	-$(call apt,mmdebstrap)
	sh scripts/demo_debian.sh

# As an ordinary user of the tests' own, with subordinate ids; without systemd where there is none.
rootless-test: build
	$(call apt,busybox-static uidmap)
	sh scripts/rootless_test.sh

# On a host with systemd and pure cgroup v2, in a virtual machine: docs/cgroups.md has how long it takes.
vm-test:
	$(call apt,mmdebstrap qemu-system-x86 e2fsprogs busybox-static)
	scripts/vm/test.sh

test: build $(VENV)/criu/criu
	$(call apt,busybox-static strace systemd iproute2 procps uidmap zsh fish mandoc)
	$(VENV)/bin/pytest tests --ignore=tests/engines

# The check list of podman, buildah, docker, containerd and its CRI, with this runtime.
engines: engine-tools
	$(VENV)/bin/pytest tests/engines

engines-fast: engine-tools
	$(VENV)/bin/pytest tests/engines -m 'not slow'

# The same for the runtimes of Debian, too: docs/engines.md.
engines-doc: engine-tools
	$(call apt,runc crun)
	cd tests && ../$(VENV)/bin/python -m engines.document --to ../docs/engines.md \
		$(OCI_RUNTIME) runc crun
	cd tests && ../$(VENV)/bin/python -m engines.failures --to ../docs/engines-failures.md \
		$(OCI_RUNTIME) runc

# Where there is none, the checks that need one say so.
$(VENV)/criu/criu: scripts/criu.sh $(VENV)/.tools
	-$(call apt,mmdebstrap)
	sh scripts/criu.sh $(VENV)/criu

engine-tools: build $(VENV)/.engines $(VENV)/criu/criu
	$(call apt,$(ENGINES))

$(VENV)/.engines: $(VENV)/.tools
	$(VENV)/bin/pip install -q --disable-pip-version-check $(CLIENTS)
	touch $@

# The runtime is killed and its system calls fail, for an hour or more: docs/torture.md.
torture: build
	$(call apt,busybox-static gcc libc6-dev)
	TORTURE_ROUNDS=$${TORTURE_ROUNDS:-2000} FAULT_POINTS=$${FAULT_POINTS:-0} SOAK=$${SOAK:-10000} \
		RACE_STARTS=$${RACE_STARTS:-20000} \
		$(VENV)/bin/pytest -s tests/torture

# Broken copies of pyrunc: each must be noticed by the test that is named for it.
mutation: build
	MUTATION=1 $(VENV)/bin/pytest tests/mutation

lint: tools
	$(call apt,clang-format)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy --strict pyrunc build.py
	$(VENV)/bin/python scripts/rules.py
	@if command -v clang-format >/dev/null; then clang-format --dry-run -Werror $(NATIVE); fi

bench: build
	$(VENV)/bin/python bench/run.py

conformance: build
	sh scripts/conformance.sh

# FUZZ_SECONDS for each target (60).
fuzz: build
	$(call apt,clang)
	sh scripts/fuzz.sh

# gcc's and clang's static analyzers: no warning.
analyze: tools
	$(call apt,gcc clang libc6-dev-arm64-cross linux-libc-dev-arm64-cross)
	sh scripts/analyze.sh

# The module that the parent calls under ASan and UBSan, pyrunc-init under UBSan, while containers run.
sanitize: build
	sh scripts/sanitize.sh

conformance-doc:
	$(PYTHON) scripts/conformance_doc.py docs/conformance.md

vocabulary: build
	$(VENV)/bin/python scripts/vocabulary.py docs/vocabulary.md

# docs/errors-compared.md: what pyrunc, runc and crun say of the same failures.
errors-compared: build
	$(call apt,busybox-static runc crun util-linux)
	$(VENV)/bin/python scripts/errors_compared.py

command-docs:
	$(PYTHON) scripts/command_docs.py markdown docs/commands.md

# docs/errors, from the pages that `pyrunc explain` shows.
error-docs:
	$(PYTHON) scripts/error_docs.py

opcodes:
	$(PYTHON) build.py --opcodes pyrunc/plan/opcodes.py

shapes:
	$(PYTHON) build.py --shapes pyrunc/schema/shapes.py
	-$(VENV)/bin/ruff format -q pyrunc/schema/shapes.py

format: tools
	$(call apt,clang-format)
	$(VENV)/bin/ruff check -q --fix . || true
	$(VENV)/bin/ruff format .
	clang-format -i $(NATIVE)

clean:
	rm -rf $(VENV) build dist
