#!/usr/bin/env bash
# `verify` and `recall` on Direct3D 12, with each of its two compilers, as Windows programs under Wine 10: FXC, which
# every Windows has, and DXC. Direct3D 12 is vkd3d over lavapipe, both of Debian 13, which is unpacked into a folder.
#
# Vkd3d 1.14 of Wine reads shader model 5.1, which is what FXC writes. DXC writes shader model 6, which vkd3d reads
# where it is built with VKD3D_SHADER_UNSUPPORTED_DXIL: it is built again from the source package of the same Wine.
set -euo pipefail
. platforms/common.sh

here="$work/dx12"
root="$here/debian"
mkdir -p "$here"
unshare --mount --net --pid --fork true 2>/dev/null || not_run "needs root, to change into a Debian 13 of its own"
need 'command -v debootstrap' debootstrap debian-archive-keyring
need 'command -v x86_64-w64-mingw32-gcc && command -v x86_64-w64-mingw32-widl && command -v flex && command -v bison' \
    gcc-mingw-w64-x86-64-win32 binutils-mingw-w64-x86-64 mingw-w64-tools flex bison
platforms/windows-build.sh || exit "$?"
dawn

if [ ! -d "$root" ]; then
    rm -rf "$root.part"
    debootstrap --variant=minbase \
        --include=wine64,wine,xvfb,mesa-vulkan-drivers,libvulkan1,libvulkan-dev,dpkg-dev \
        trixie "$root.part" http://deb.debian.org/debian || failed "debootstrap of Debian 13 failed"
    echo "deb-src http://deb.debian.org/debian trixie main" >>"$root.part/etc/apt/sources.list"
    mv "$root.part" "$root"
fi

# Runs a command there, in a folder of its own, with a display that nothing else finds. Whatever it starts ends with it.
inside() {
    unshare --mount --net --pid --fork --propagation private bash -c '
        root="$1" && shift
        mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" && mount -t tmpfs tmpfs "$root/tmp" &&
            exec chroot "$root" /usr/bin/env PATH=/usr/bin:/bin HOME=/root LC_ALL=C.UTF-8 bash -c '\''
                mkdir -p /attractor && cd /attractor
                exec {display}< <(exec Xvfb -displayfd 1 -screen 0 640x480x24 -nolisten tcp 2>/dev/null)
                read -r number <&"$display"
                export DISPLAY=":$number" XDG_RUNTIME_DIR=/tmp WINEDEBUG=-all VKD3D_DEBUG=none VKD3D_SHADER_DEBUG=none
                status=0
                env "$@" || status=$?
                # Keeps what the program changed in the registry.
                /usr/lib/wine/wineserver64 -k
                exit "$status"
            '\'' bash "$@"
    ' bash "$root" "$@"
}

if [ ! -f "$here/d3d12.dll" ]; then
    mkdir -p "$root/attractor"
    chroot "$root" sh -c '
        cd /attractor && apt-get update && apt-get -o APT::Sandbox::User=root source --tar-only wine' ||
        failed "no source of Wine"
    platforms/windows/d3d12.sh "$root"/attractor/wine_*.orig.tar.xz "$root/usr/include" "$here/d3d12.dll" ||
        failed "vkd3d does not build"
fi

# One folder for each compiler: the program and what Windows would find beside it.
programs="$root/attractor"
rm -rf "$programs"/{fxc,dxc}
mkdir -p "$programs"/{fxc,dxc}
cp "$work/windows-release/attractor.exe" "$node_modules/webgpu/dist/win32-x64/d3dcompiler_47.dll" "$programs/fxc/"
cp "$programs"/fxc/* "$node_modules/webgpu/dist/win32-x64/dxcompiler.dll" "$here/d3d12.dll" "$programs/dxc/"

# attractor FOLDER ARGUMENTS...: the program of that folder.
attractor() {
    local folder="$1" overrides='d3dcompiler_47=n;mscoree,mshtml='
    shift
    [ "$folder" = fxc ] || overrides+=';d3d12=n'
    inside WINEPREFIX=/attractor/prefix WINEDLLOVERRIDES="$overrides" RUST_LOG="${RUST_LOG-}" \
        bash -c "cd $folder && exec /usr/lib/wine/wine64 attractor.exe \"\$@\"" bash "$@"
}
inside WINEPREFIX=/attractor/prefix WINEDLLOVERRIDES='mscoree,mshtml=' /usr/lib/wine/wine64 wineboot --init

counts=()
for compiler in fxc dxc; do
    echo "==== $compiler"
    # What wgpu takes by itself: DXC where it is beside the program.
    RUST_LOG=wgpu_hal::dx12=debug attractor "$compiler" devices >"$here/devices.txt" 2>&1 ||
        failed "$compiler: devices ends with status $?"
    grep -A 3 GTX "$here/devices.txt" || true
    case "$compiler" in fxc) said='Using FXC' ;; dxc) said='Using dynamic DXC' ;; esac
    grep -q "$said" "$here/devices.txt" || failed "wgpu does not take $compiler by itself"
    # With the kernel and the subgroups that the tuning for this kind of device leaves out.
    attractor "$compiler" tune --device dx12 --seconds 1 --out tuning.json ||
        failed "$compiler: tune ends with status $?"
    sed -i 's/\("register_max_dim": \)[0-9]*/\1128/; s/\("register_subgroups": \)[0-9]*/\11/' "$programs/$compiler/tuning.json"
    begun=$SECONDS
    attractor "$compiler" verify --device dx12 --tuning tuning.json >"$here/$compiler.txt" 2>"$here/complaints.txt" ||
        failed "$compiler: verify: $(grep '^attractor:' "$here/complaints.txt" || tail -n 1 "$here/$compiler.txt")"
    cat "$here/$compiler.txt"
    read -r right _ all _ < <(tail -n 1 "$here/$compiler.txt")
    counts+=("$right of $all with ${compiler^^} in $((SECONDS - begun)) s")
    attractor "$compiler" recall --device dx12 --queries 50 || failed "$compiler: recall ends with status $?"
done
passed "verify on DX12: ${counts[0]}, ${counts[1]}"
