/*
 * Starts a program, interrupts it as Ctrl-C does, and prints how it ended.
 *
 *     interrupt MILLISECONDS PROGRAM ARGUMENTS...
 *
 * prints its exit status in hexadecimal and the milliseconds from the event to its end. Exit status 1 where the program
 * ended before the event, or has not ended 10 s after it.
 */

#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

enum { LONGEST = 10000, STREAMS = 3 };

static void must(BOOL holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "interrupt: %s (error %lu)\n", what, GetLastError());
        exit(1);
    }
}

int main(int argc, char **argv) {
    static const DWORD streams[STREAMS] = {STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE};
    HANDLE kept[STREAMS];
    STARTUPINFOW startup = {.cb = sizeof startup, .dwFlags = STARTF_USESTDHANDLES};
    PROCESS_INFORMATION child;
    DWORD status = 0, begun;
    WCHAR *rest = GetCommandLineW();
    if (argc < 3) {
        fprintf(stderr, "usage: interrupt MILLISECONDS PROGRAM ARGUMENTS...\n");
        return 2;
    }
    /* Behind this program and the time, neither of which has spaces. */
    for (int skipped = 0; skipped < 2; skipped++) {
        rest += wcscspn(rest, L" ");
        rest += wcsspn(rest, L" ");
    }
    /* Ctrl-C goes to every program of a console: a new one has these two. They still print where they did. */
    for (int i = 0; i < STREAMS; i++) {
        kept[i] = GetStdHandle(streams[i]);
    }
    FreeConsole();
    must(AllocConsole(), "no console");
    for (int i = 0; i < STREAMS; i++) {
        SetStdHandle(streams[i], kept[i]);
    }
    startup.hStdInput = kept[0];
    startup.hStdOutput = kept[1];
    startup.hStdError = kept[2];
    must(CreateProcessW(NULL, rest, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &child), "the program does not start");
    /* From now on Ctrl-C is ignored here, which a program that is started now would inherit. */
    must(SetConsoleCtrlHandler(NULL, TRUE), "Ctrl-C is not ignored");
    must(WaitForSingleObject(child.hProcess, atoi(argv[1])) == WAIT_TIMEOUT, "the program ended before the event");
    begun = GetTickCount();
    must(GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0), "no event");
    must(WaitForSingleObject(child.hProcess, LONGEST) == WAIT_OBJECT_0, "the program has not ended");
    must(GetExitCodeProcess(child.hProcess, &status), "no exit status");
    printf("%08lx %lu\n", status, GetTickCount() - begun);
    return 0;
}
