#!/usr/bin/env bash
# Builds d3d12.dll, of Wine's d3d12 and vkd3d, such that it reads what DXC writes:
#
#     d3d12.sh WINE.orig.tar.xz VULKAN_HEADERS d3d12.dll
#
# with the source of Wine 10 as Debian has it, the folder in which `vulkan` and `vk_video` are, and what to write. Needs
# mingw's compiler and widl, flex and bison.
set -euo pipefail

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
mkdir -p "$build"/{objects,generated,include/wine}
tar -x -C "$build" -f "$1" --wildcards '*/include' '*/libs/vkd3d' '*/dlls/d3d12'
wine=$(echo "$build"/wine-*)
vkd3d="$wine/libs/vkd3d"

# The headers that Wine's own build makes, with names for what has none in C.
for name in d3dcommon d3d12 d3d12sdklayers d3d12shader dxgi{format,common,type} dxgi dxgi1_{2,3,4,5,6} wine/winedxgi; do
    x86_64-w64-mingw32-widl -h -o "$build/include/$name.h" -I "$wine/include" "$wine/include/$name.idl"
done
sed -i 's/__C89_NAMELESS\(UNION\|STRUCT\)NAME/DUMMY\1NAME/' "$build"/include/*.h
cp "$wine"/include/wine/{list,rbtree}.h "$build/include/wine/"
cp -r "$2/vulkan" "$2/vk_video" "$build/include/"
printf '#define VK_USE_PLATFORM_WIN32_KHR\n#include <vulkan/vulkan.h>\n' >"$build/include/wine/vulkan.h"
: >"$build/include/wine/wined3d.h"
cat >"$build/include/wine/debug.h" <<'HEADER'
#define WINE_DEFAULT_DEBUG_CHANNEL(channel)
#define WINE_DECLARE_DEBUG_CHANNEL(channel)
#define TRACE(...)
#define WARN(...)
#define FIXME(...)
#define ERR_(channel) (void)
#define ARRAY_SIZE(array) (sizeof(array) / sizeof *(array))
HEADER
printf '#include <windows.h>\n#include <initguid.h>\n#include <d3d12.h>\n' >"$build/generated/guids.c"
for name in hlsl preproc; do
    flex -o "$build/generated/$name.lex.c" "$vkd3d/libs/vkd3d-shader/$name.l"
    bison -d -o "$build/generated/$name.tab.c" "$vkd3d/libs/vkd3d-shader/$name.y"
done
cat >"$build/d3d12.def" <<'DEFINITION'
LIBRARY d3d12.dll
EXPORTS
    D3D12CreateDevice @101
    D3D12GetDebugInterface @102
    D3D12CreateRootSignatureDeserializer
    D3D12CreateVersionedRootSignatureDeserializer
    D3D12EnableExperimentalFeatures
    D3D12SerializeRootSignature
    D3D12SerializeVersionedRootSignature
DEFINITION

flags=(-O1 -w -D_WIN32_WINNT=0x0A00 -D__D3DX9MATH_INL__ -DVKD3D_SHADER_UNSUPPORTED_DXIL
    -DLIBVKD3D_SOURCE -DLIBVKD3D_SHADER_SOURCE -I"$build/include" -I"$build/generated" -I"$vkd3d" -I"$vkd3d/include"
    -I"$vkd3d/include/private" -I"$vkd3d/libs/vkd3d" -I"$vkd3d/libs/vkd3d-shader")
cd "$build/objects"
printf '%s\0' "$vkd3d"/libs/*/*.c "$build"/generated/*.c "$wine/dlls/d3d12/d3d12_main.c" |
    xargs -0 -P "$(nproc)" -n 1 x86_64-w64-mingw32-gcc "${flags[@]}" -c
cd "$OLDPWD"
x86_64-w64-mingw32-gcc -shared -s -static-libgcc -o "$3" "$build"/objects/*.o "$build/d3d12.def" -ldxgi -ldxguid -luuid
