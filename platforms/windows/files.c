/*
 * Saves a memory on Windows: to a new file, over an old one, and over one that another handle has open.
 *
 *     files PATH
 *
 * leaves a memory of two patterns, (1, 0) and (0, 1), at PATH, which may hold any letters. Its folder must be there and
 * empty. Exit status 1 where something is not as it should be.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#include "attractor.h"

static WCHAR path[MAX_PATH], folder[MAX_PATH];
/* The same in UTF-8, which the library expects. */
static char path_utf8[4 * MAX_PATH];

static void check(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "files: not so: %s (last error: \"%s\")\n", what, attractor_last_error_message());
        exit(1);
    }
}

static void must(attractor_error code, const char *what) { check(code == ATTRACTOR_OK, what); }

static attractor_memory *memory_of(const attractor_device *device, size_t patterns) {
    static const float keys[4] = {1, 0, 0, 1};
    attractor_memory *memory = NULL;
    attractor_memory_options options;
    must(attractor_memory_options_init(&options, sizeof options, 2), "options");
    must(attractor_memory_create(device, &options, &memory), "a memory");
    must(attractor_memory_add(memory, keys, 2 * patterns, NULL, 0, NULL, 0, patterns, NULL), "its patterns");
    return memory;
}

/* Checks that the folder has the file and nothing else, and that the file has so many patterns. */
static void check_saved(const attractor_device *device, size_t patterns, const char *what) {
    WIN32_FIND_DATAW found;
    attractor_memory *memory = NULL;
    int files = 0;
    HANDLE search = FindFirstFileW(folder, &found);
    check(search != INVALID_HANDLE_VALUE, "the folder can be listed");
    do {
        files += !(found.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY);
    } while (FindNextFileW(search, &found));
    FindClose(search);
    check(files == 1, "there is one file");
    must(attractor_memory_load(device, path_utf8, NULL, &memory), "the file is a memory");
    check(attractor_memory_len(memory) == patterns, what);
    attractor_memory_free(memory);
    printf("  %s\n", what);
}

enum { SHARE_ALL = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE };

static HANDLE opened(const WCHAR *name, DWORD access, DWORD share) {
    HANDLE file = CreateFileW(name, access, share, NULL, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, NULL);
    check(file != INVALID_HANDLE_VALUE, "the file can be opened");
    return file;
}

/* Whether files that are open, and share their deletion, can be replaced: by Windows 10 on NTFS, not by Wine. */
static bool replaces_open_files(void) {
    struct {
        DWORD flags;
        HANDLE root;
        DWORD length;
        WCHAR name[2 * MAX_PATH];
    } rename = {.flags = 3 /* replace, as POSIX does */};
    const FILE_INFO_BY_HANDLE_CLASS rename_info_ex = 22;
    WCHAR temporary[MAX_PATH], from[MAX_PATH], to[MAX_PATH];
    HANDLE source, target;
    bool replaced;
    GetTempPathW(MAX_PATH, temporary);
    GetTempFileNameW(temporary, L"one", 0, from);
    GetTempFileNameW(temporary, L"two", 0, to);
    wcscpy(rename.name, to);
    rename.length = (DWORD)(wcslen(to) * sizeof *to);
    source = opened(from, DELETE, SHARE_ALL);
    target = opened(to, GENERIC_READ, SHARE_ALL);
    replaced = SetFileInformationByHandle(source, rename_info_ex, &rename, sizeof rename);
    CloseHandle(source);
    CloseHandle(target);
    DeleteFileW(from);
    DeleteFileW(to);
    return replaced;
}

int main(void) {
    int argc;
    WCHAR **argv = CommandLineToArgvW(GetCommandLineW(), &argc);
    attractor_device *device = NULL;
    attractor_memory *one, *two;
    HANDLE held;
    if (argc != 2 || wcslen(argv[1]) > MAX_PATH - 3) {
        fprintf(stderr, "usage: files PATH\n");
        return 2;
    }
    wcscpy(path, argv[1]);
    wcscpy(folder, path);
    wcscpy(wcsrchr(folder, L'\\') + 1, L"*");
    check(WideCharToMultiByte(CP_UTF8, 0, path, -1, path_utf8, sizeof path_utf8, NULL, NULL) > 0, "the path in UTF-8");

    must(attractor_device_cpu(&device), "the CPU engine");
    one = memory_of(device, 1);
    two = memory_of(device, 2);

    must(attractor_memory_save(one, path_utf8), "a save");
    check_saved(device, 1, "saved to a new file");
    must(attractor_memory_save(two, path_utf8), "a save");
    check_saved(device, 2, "saved over it");

    held = opened(path, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE);
    check(attractor_memory_save(one, path_utf8) == ATTRACTOR_ERROR_FILE, "a file that may not be replaced is refused");
    check(strstr(attractor_last_error_message(), path_utf8) != NULL, "the error names the path");
    printf("  refused: %s\n", attractor_last_error_message());
    check_saved(device, 2, "the old file is whole");
    CloseHandle(held);

    held = opened(path, GENERIC_READ, SHARE_ALL);
    if (replaces_open_files()) {
        must(attractor_memory_save(one, path_utf8), "a save over a file that is open and shares its deletion");
        check_saved(device, 1, "saved over an open file");
    } else {
        check(attractor_memory_save(one, path_utf8) == ATTRACTOR_ERROR_FILE, "this system replaces no open file");
        check_saved(device, 2, "refused, as this system replaces no open file");
    }
    CloseHandle(held);
    must(attractor_memory_save(one, path_utf8), "a save");

    check(SetFileAttributesW(path, FILE_ATTRIBUTE_READONLY), "the file can be made read-only");
    check(attractor_memory_save(two, path_utf8) == ATTRACTOR_ERROR_FILE, "a read-only file is refused");
    printf("  refused: %s\n", attractor_last_error_message());
    check_saved(device, 1, "the read-only file is whole");
    check(SetFileAttributesW(path, FILE_ATTRIBUTE_NORMAL), "the file can be made writable");
    must(attractor_memory_save(two, path_utf8), "a save");
    check_saved(device, 2, "saved over it again");
    attractor_memory_free(one);
    attractor_memory_free(two);
    attractor_device_free(device);
    return 0;
}
