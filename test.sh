#!/usr/bin/env bash
# The whole test suite, with the software adapters required. On Debian and Ubuntu the drivers are installed when they are
# missing; on macOS and Windows the system's own adapter is used and nothing needs installing.
set -euo pipefail
cd "$(dirname "$0")"

vulkan_driver() { compgen -G '/usr/share/vulkan/icd.d/lvp_icd*.json' >/dev/null; }
gl_driver() { ldconfig -p | grep -q 'libEGL\.so\.1' && compgen -G '/usr/lib/*/dri/swrast_dri.so' >/dev/null; }
loader() { ldconfig -p | grep -q 'libvulkan\.so\.1'; }

if [ "$(uname -s)" = Linux ]; then
    if ! { vulkan_driver && gl_driver && loader; }; then
        packages=(mesa-vulkan-drivers libvulkan1 libegl1 libgl1-mesa-dri)
        if command -v apt-get >/dev/null; then
            as_root=()
            [ "$(id -u)" -eq 0 ] || as_root=(sudo)
            "${as_root[@]}" apt-get update
            "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}"
        else
            echo "test.sh: install Mesa's software drivers (lavapipe for Vulkan, llvmpipe for EGL) and the Vulkan loader," >&2
            echo "as this system's packages: on Debian they are ${packages[*]}." >&2
            exit 1
        fi
    fi
    # Mesa's EGL complains where there is none.
    export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}}"
    export ATTRACTOR_REQUIRE_ADAPTERS="${ATTRACTOR_REQUIRE_ADAPTERS-lavapipe,llvmpipe}"
fi

cargo fmt --check
cargo clippy --locked --all-targets -- -D warnings
# The bare library: neither argument parser nor image, file-format or progress-bar crate.
cargo clippy --locked --lib --no-default-features -- -D warnings
bare=$(cargo tree --locked --no-default-features --edges normal --prefix none)
if echo "$bare" | grep -E '^(clap|image|indicatif|npyz|safetensors|serde_json|flate2|env_logger) '; then
    echo "test.sh: the bare library depends on the crates above" >&2
    exit 1
fi
RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --lib
# One test at a time: wgpu's GL backend gives up on its context after waiting six seconds for another thread's work.
cargo test --locked -- --test-threads=1
