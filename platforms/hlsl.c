// Compiles HLSL with Microsoft's own compilers, as wgpu does: `hlsl fxc|dxc PROFILE FILE...`, beside
// d3dcompiler_47.dll or dxcompiler.dll. One line a file: `ok` or `refused`, milliseconds of processor time, the file,
// the compiler's first error. Exits with 0 where all compile, 1 where one does not, 2 where there is no compiler.
//
//     x86_64-w64-mingw32-gcc -O1 -o hlsl.exe hlsl.c

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

// Any COM object: a pointer to its table of functions.
typedef struct Object {
    void **functions;
} Object;

typedef HRESULT(WINAPI *Compile)(const void *, SIZE_T, const char *, const void *, void *, const char *, const char *,
                                 UINT, UINT, Object **, Object **);
typedef HRESULT(WINAPI *Create)(const GUID *, const GUID *, void **);
typedef ULONG(WINAPI *Release)(Object *);
// ID3DBlob and IDxcBlob alike.
typedef const char *(WINAPI *Pointer)(Object *);
typedef SIZE_T(WINAPI *Size)(Object *);

// DxcBuffer.
typedef struct Text {
    const void *pointer;
    SIZE_T size;
    UINT encoding;
} Text;
typedef HRESULT(WINAPI *CompileText)(Object *, const Text *, const wchar_t **, UINT, void *, const GUID *, void **);
typedef HRESULT(WINAPI *Status)(Object *, HRESULT *);
typedef HRESULT(WINAPI *Errors)(Object *, Object **);

static const GUID DXC_COMPILER = {0x73e22d93, 0xe6ce, 0x47f3, {0xb5, 0xbf, 0xf0, 0x66, 0x4f, 0x39, 0xc1, 0xb0}};
static const GUID IDXC_COMPILER_3 = {0x228B4687, 0x5A6A, 0x4730, {0x90, 0x0C, 0x97, 0x02, 0xB2, 0x20, 0x3F, 0x54}};
static const GUID IDXC_RESULT = {0x58346CDA, 0xDDE7, 0x4497, {0x94, 0x61, 0x6F, 0x87, 0xAF, 0x5E, 0x06, 0x59}};

static Compile fxc;
static Object *dxc;

static void release(Object *object) {
    if (object) ((Release)object->functions[2])(object);
}

// Copies what a blob of text says into `message`.
static void copy(Object *blob, char *message, size_t size) {
    if (!blob) return;
    SIZE_T length = ((Size)blob->functions[4])(blob);
    if (length >= size) length = size - 1;
    memcpy(message, ((Pointer)blob->functions[3])(blob), length);
    message[length] = 0;
}

// D3DCOMPILE_ENABLE_STRICTNESS, which wgpu sets as well.
#define ENABLE_STRICTNESS 0x800

static HRESULT compile(const char *text, size_t length, const char *name, const char *profile, char *message,
                       size_t size) {
    if (fxc) {
        Object *code = NULL, *errors = NULL;
        HRESULT result = fxc(text, length, name, NULL, NULL, "main", profile, ENABLE_STRICTNESS, 0, &code, &errors);
        copy(errors, message, size);
        release(code);
        release(errors);
        return result;
    }
    wchar_t wide[32];
    MultiByteToWideChar(CP_UTF8, 0, profile, -1, wide, 32);
    // What wgpu-hal passes; the last where the device has 16-bit types, which came with shader model 6.2.
    const wchar_t *arguments[] = {L"-E",   L"main",         L"-T",   wide,                  L"-HV",
                                  L"2018", L"-no-warnings", L"-Ges", L"-enable-16bit-types"};
    UINT count = strcmp(profile, "cs_6_2") < 0 ? 8 : 9;
    Text source = {text, length, CP_UTF8};
    Object *outcome = NULL, *errors = NULL;
    HRESULT status = 0;
    HRESULT result =
        ((CompileText)dxc->functions[3])(dxc, &source, arguments, count, NULL, &IDXC_RESULT, (void **)&outcome);
    if (FAILED(result)) return result;
    ((Status)outcome->functions[3])(outcome, &status);
    if (FAILED(status)) {
        ((Errors)outcome->functions[5])(outcome, &errors);
        copy(errors, message, size);
        release(errors);
    }
    release(outcome);
    return status;
}

// Milliseconds of processor time of this process: another program on the machine does not count.
static unsigned long long spent(void) {
    FILETIME created, ended, kernel, user;
    GetProcessTimes(GetCurrentProcess(), &created, &ended, &kernel, &user);
    unsigned long long ticks = ((unsigned long long)kernel.dwHighDateTime << 32 | kernel.dwLowDateTime) +
                               ((unsigned long long)user.dwHighDateTime << 32 | user.dwLowDateTime);
    return ticks / 10000;
}

int main(int count, char **arguments) {
    if (count < 4) return fprintf(stderr, "usage: hlsl fxc|dxc PROFILE FILE...\n"), 2;
    int is_fxc = !strcmp(arguments[1], "fxc");
    HMODULE library = LoadLibraryA(is_fxc ? "d3dcompiler_47.dll" : "dxcompiler.dll");
    void *entry = library ? (void *)GetProcAddress(library, is_fxc ? "D3DCompile" : "DxcCreateInstance") : NULL;
    if (!entry) return fprintf(stderr, "no %s here: error %lu\n", arguments[1], GetLastError()), 2;
    if (is_fxc) {
        fxc = (Compile)entry;
    } else if (FAILED(((Create)entry)(&DXC_COMPILER, &IDXC_COMPILER_3, (void **)&dxc))) {
        return fprintf(stderr, "dxcompiler.dll makes no compiler\n"), 2;
    }
    int refused = 0;
    for (int i = 3; i < count; i++) {
        FILE *file = fopen(arguments[i], "rb");
        if (!file) return fprintf(stderr, "%s cannot be opened\n", arguments[i]), 2;
        fseek(file, 0, SEEK_END);
        long length = ftell(file);
        rewind(file);
        char *text = malloc(length), message[2048] = "";
        if (fread(text, 1, length, file) != (size_t)length) return fprintf(stderr, "%s cannot be read\n", arguments[i]), 2;
        fclose(file);
        unsigned long long begun = spent();
        HRESULT result = compile(text, length, arguments[i], arguments[2], message, sizeof message);
        unsigned long long taken = spent() - begun;
        // The first error is enough, on one line.
        char *error = strstr(message, "error");
        if (!error) error = message;
        error[strcspn(error, "\r\n")] = 0;
        printf("%s %llu %s %s\n", FAILED(result) ? "refused" : "ok", taken, arguments[i], FAILED(result) ? error : "");
        fflush(stdout);
        refused += FAILED(result) != 0;
        free(text);
    }
    return refused > 0;
}
