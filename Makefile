# Installs what cargo builds, the way C and C++ programs expect to find it. Rust programs need none of this.
#
#   make
#   make install PREFIX=/usr libdir=/usr/lib/x86_64-linux-gnu DESTDIR=/tmp/stage
#   make uninstall, with the same variables
#
# The directories are those of the GNU coding standards; each can be given by itself. `install` builds only what
# is older than its sources, so that root needs no cargo after a plain `make`; `install-strip` leaves out of the
# shared libraries what debuggers and profilers read.

VERSION := $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' Cargo.toml)
MAJOR := $(firstword $(subst ., ,$(VERSION)))

PREFIX = /usr/local
prefix = $(PREFIX)
exec_prefix = $(prefix)
libdir = $(exec_prefix)/lib
includedir = $(prefix)/include
datarootdir = $(prefix)/share
docdir = $(datarootdir)/doc/heapmaster
mandir = $(datarootdir)/man
pkgconfigdir = $(libdir)/pkgconfig
cmakedir = $(libdir)/cmake/HeapMaster

CARGO = cargo
INSTALL = install
INSTALL_PROGRAM = $(INSTALL)
INSTALL_DATA = $(INSTALL) -m 644

# Where cargo puts a release build.
built = $(or $(CARGO_TARGET_DIR),target)/$(if $(CARGO_BUILD_TARGET),$(CARGO_BUILD_TARGET)/)release
shared = $(built)/libheapmaster.so $(built)/libheapmaster_malloc.so
static = $(built)/libheapmaster.a
sources := $(wildcard Cargo.* build.rs cbindgen.toml c/Cargo.toml c/build.rs malloc/Cargo.toml malloc/build.rs) \
    $(shell find src c/src malloc/src -name '*.rs')

headers := $(wildcard include/*.h include/*.hpp)
pkgconfig := heapmaster.pc heapmaster-malloc.pc
cmake := HeapMasterConfig.cmake HeapMasterConfigVersion.cmake

# Fills in a template. What lies below the prefix is named by it in .pc files, so that they can be relocated;
# CMake's files find everything from where they are themselves.
below_prefix = $(patsubst $(prefix)/%,$${prefix}/%,$(1))
from_cmakedir = $(shell realpath -ms --relative-to='$(cmakedir)' '$(1)')
configure = sed -e 's|@version@|$(VERSION)|' -e 's|@major@|$(MAJOR)|' \
    -e 's|@prefix@|$(prefix)|' \
    -e 's|@libdir@|$(call below_prefix,$(libdir))|' \
    -e 's|@includedir@|$(call below_prefix,$(includedir))|' \
    -e 's|@libdir_from_here@|$(call from_cmakedir,$(libdir))|' \
    -e 's|@includedir_from_here@|$(call from_cmakedir,$(includedir))|'

.PHONY: all install install-strip uninstall

all: $(shared) $(static)

$(shared) $(static) &: $(sources)
	$(CARGO) build --release

install: all
	$(if $(filter-out /%,$(prefix) $(libdir) $(includedir)),$(error prefix, libdir and includedir are absolute paths))
	$(INSTALL) -d $(foreach directory,$(libdir) $(pkgconfigdir) $(cmakedir) $(includedir) $(docdir) \
	    $(mandir)/man3 $(mandir)/man7,'$(DESTDIR)$(directory)')
	for name in $(notdir $(shared)); do \
	    $(INSTALL_PROGRAM) $(built)/$$name '$(DESTDIR)$(libdir)'/$$name.$(VERSION) && \
	    ln -sf $$name.$(VERSION) '$(DESTDIR)$(libdir)'/$$name.$(MAJOR) && \
	    ln -sf $$name.$(MAJOR) '$(DESTDIR)$(libdir)'/$$name || exit; \
	done
	$(INSTALL_DATA) $(static) '$(DESTDIR)$(libdir)'
	$(INSTALL_DATA) $(headers) '$(DESTDIR)$(includedir)'
	for name in $(pkgconfig); do \
	    $(configure) packaging/$$name.in | $(INSTALL_DATA) /dev/stdin '$(DESTDIR)$(pkgconfigdir)'/$$name || exit; \
	done
	for name in $(cmake); do \
	    $(configure) packaging/$$name.in | $(INSTALL_DATA) /dev/stdin '$(DESTDIR)$(cmakedir)'/$$name || exit; \
	done
	$(INSTALL_DATA) packaging/man/heapmaster.3 '$(DESTDIR)$(mandir)/man3'
	$(INSTALL_DATA) packaging/man/heapmaster-malloc.7 '$(DESTDIR)$(mandir)/man7'
	$(INSTALL_DATA) LICENSE '$(DESTDIR)$(docdir)'

install-strip:
	$(MAKE) install INSTALL_PROGRAM='$(INSTALL) -s'

# Directories that others may use stay.
uninstall:
	for name in $(notdir $(shared)); do \
	    rm -f '$(DESTDIR)$(libdir)'/$$name '$(DESTDIR)$(libdir)'/$$name.$(MAJOR) \
	        '$(DESTDIR)$(libdir)'/$$name.$(VERSION); \
	done
	rm -f $(foreach file,$(notdir $(static)) $(pkgconfig:%=pkgconfig/%),'$(DESTDIR)$(libdir)/$(file)') \
	    $(foreach file,$(notdir $(headers)),'$(DESTDIR)$(includedir)/$(file)') \
	    '$(DESTDIR)$(mandir)/man3/heapmaster.3' '$(DESTDIR)$(mandir)/man7/heapmaster-malloc.7'
	rm -rf '$(DESTDIR)$(cmakedir)' '$(DESTDIR)$(docdir)'
