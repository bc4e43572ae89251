# hyperexport: each of these does all that it needs on a fresh machine.

PREFIX ?= /usr/local
DESTDIR ?=
CARGO ?= cargo
BINARY := target/release/hyperexport

.PHONY: help setup build demo test quick guests compile lint check bench fuzz install deb rpm test-deb \
	audit advisories audit-tool clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install the system packages and hyper2kvm (root or sudo)
	scripts/setup.sh test

build: ## Build the release binary
	scripts/setup.sh build
	$(CARGO) build --release --locked

CONVERTER ?= native
demo: ## Take a real VM from a simulated vCenter to its login prompt in libvirt (root; CONVERTER=native)
	scripts/demo.sh $(CONVERTER)

# The guests are built while the compiler works: neither takes two cores all the time.
test: setup ## Run all checks and tests (root, for the guests and libvirt)
	$(MAKE) -j2 guests compile
	$(MAKE) check

# For whoever changes a line: .config/nextest.toml says which programs and modules are left out.
quick: ## Run the tests that start neither guest nor appliance
	scripts/test.sh quick

guests: ## Build the test guests (root)
	tests/guest/build-all.sh

compile: lint
	if $(CARGO) nextest --version >/dev/null 2>&1; \
	then $(CARGO) nextest run --locked --no-run; \
	else $(CARGO) test --locked --no-run; fi

lint: ## Check form and clippy's advice
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings

# Guests and libvirt first, where one can see what is built and started. cargo-nextest ends what
# hangs and knows which tests must not run side by side; without it, one after the other.
check: guests ## Run the tests alone
	if [ "$$(id -u)" = 0 ]; then scripts/libvirtd.sh start; fi
	scripts/test.sh

# Without a sanitizer, and so with any compiler: the code is safe Rust, and what is sought is a panic,
# a hang or memory without end. Corpora and findings stay in target/fuzz.
FUZZ_SECONDS ?= 60
fuzz: ## Feed foreign formats with nonsense, FUZZ_SECONDS each (60)
	scripts/setup.sh build
	$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz
	scripts/fuzz.sh $(FUZZ_SECONDS)

bench: ## Measure exports, conversions, definitions and uploads against their peers in the same run
	scripts/setup.sh test
	$(CARGO) build --release --locked
	scripts/bench.sh
	scripts/bench-convert.sh
	scripts/bench-libvirt.sh

# No rebuild: as root, who may have no Rust, `make install` only copies.
install: $(BINARY) ## Install program, manual pages and completions to $(PREFIX), below $(DESTDIR) if that is set
	scripts/install.sh $(BINARY) '$(DESTDIR)$(PREFIX)'

# The packages: of the program as it was built, which `make build` brings up to date.
PACKAGES := target/packages
deb: build ## Make a package for Debian and Ubuntu in target/packages
	scripts/setup.sh package
	scripts/deb.sh $(BINARY) $(PACKAGES)

rpm: build ## Make a package for Fedora and RHEL in target/packages
	scripts/setup.sh package
	scripts/rpm.sh $(BINARY) $(PACKAGES)

test-deb: deb ## Install the package in a clean Debian and export an OVA there (root)
	scripts/setup.sh package
	scripts/test-deb.sh "$$(ls -t $(PACKAGES)/hyperexport_*.deb | head -n 1)"

$(BINARY):
	$(MAKE) build

audit: audit-tool ## Check licences, versions and sources of all dependencies
	$(CARGO) deny check --hide-inclusion-graph licenses bans sources

# Apart from `audit`, since the list of advisories is on the net, and grows by itself: what passed yesterday
# may fail today without a change here.
advisories: audit-tool ## Compare all dependencies with the RustSec advisories (network)
	CARGO='$(CARGO)' scripts/advisories.sh

# Not optimized: building cargo-deny takes far longer than running it once.
audit-tool:
	$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked --debug cargo-deny

clean: ## Remove what was built, the guests and hyper2kvm's environment
	$(CARGO) clean
	rm -rf .cache
