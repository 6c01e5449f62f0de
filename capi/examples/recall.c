/*
 * Stores patterns, recalls noisy copies of them, first waiting for the answer and then polling for it once a frame, and
 * checks every answer, errors included.
 *
 *     recall [cpu | best | vulkan | vulkan-software | gl-software | metal | dx12 | ADAPTER]
 *
 * where ADAPTER is part of an adapter's name. Exit status: 0, 1 where something is wrong, 77 where there is no such
 * adapter. It is C11, and C++ as well. To build it in the root of the repository, with the library as Cargo builds it:
 *
 *     cargo build --release -p attractor-capi
 *     cc -Icapi/include capi/examples/recall.c -Ltarget/release -lattractor -Wl,-rpath,target/release -lm -o recall
 *
 * or with one that `cargo cinstall` of cargo-c has installed where pkg-config finds it:
 *
 *     cc -std=c11 capi/examples/recall.c $(pkg-config --cflags --libs attractor) -lm -o recall
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attractor.h"

enum { DIM = 64, PATTERNS = 100, QUERIES = 10, FLIPPED = 8, NO_ADAPTER = 77 };

/* Ends the program where a call that should succeed does not. */
static void must(attractor_error code, const char *what) {
    if (code != ATTRACTOR_OK) {
        fprintf(stderr, "recall: %s: %s (error %d)\n", what, attractor_last_error_message(), (int)code);
        exit(code == ATTRACTOR_ERROR_NO_ADAPTER ? NO_ADAPTER : EXIT_FAILURE);
    }
}

/* Ends the program where an expectation fails. */
static void check(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "recall: not so: %s (last error: \"%s\")\n", what, attractor_last_error_message());
        exit(EXIT_FAILURE);
    }
}

/* Ends the program where a call is not refused, with the right code and a message that has `word` in it. */
static void must_fail(attractor_error code, attractor_error expected, const char *word) {
    const char *message = attractor_last_error_message();
    if (code != expected || strstr(message, word) == NULL) {
        fprintf(stderr, "recall: expected error %d about \"%s\", got %d: %s\n", (int)expected, word, (int)code,
                message);
        exit(EXIT_FAILURE);
    }
    printf("  refused (%d): %s\n", (int)code, message);
}

/* The same numbers on every machine. */
static uint32_t random_bits(void) {
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 40);
}

static attractor_device *open_device(const char *name) {
    attractor_device *device = NULL;
    attractor_device_options options;
    if (strcmp(name, "cpu") == 0) {
        must(attractor_device_cpu(&device), name);
        return device;
    }
    if (strcmp(name, "best") == 0) {
        must(attractor_device_best(&device), name);
        return device;
    }
    must(attractor_device_options_init(&options, sizeof options), "device options");
    if (strcmp(name, "vulkan") == 0) {
        options.backend = ATTRACTOR_BACKEND_VULKAN;
    } else if (strcmp(name, "vulkan-software") == 0) {
        options.backend = ATTRACTOR_BACKEND_VULKAN;
        options.software = ATTRACTOR_SOFTWARE_REQUIRE;
    } else if (strcmp(name, "gl-software") == 0) {
        options.backend = ATTRACTOR_BACKEND_GL;
        options.software = ATTRACTOR_SOFTWARE_REQUIRE;
    } else if (strcmp(name, "metal") == 0) {
        options.backend = ATTRACTOR_BACKEND_METAL;
    } else if (strcmp(name, "dx12") == 0) {
        options.backend = ATTRACTOR_BACKEND_DX12;
    } else {
        options.name = name;
    }
    must(attractor_device_open(&options, &device), name);
    return device;
}

/* Checks that query q has recalled pattern q, and that the reports say so. */
static void check_answers(const attractor_retrieval *retrieval, const float *patterns, uint64_t first_id) {
    size_t length = 0, top_length = 0;
    const float *output = attractor_retrieval_output(retrieval, &length);
    const uint32_t *steps = attractor_retrieval_steps(retrieval, NULL);
    const bool *converged = attractor_retrieval_converged(retrieval, NULL);
    const attractor_status *status = attractor_retrieval_status(retrieval, NULL);
    const double *energy = attractor_retrieval_energy(retrieval, NULL);
    const uint64_t *top = attractor_retrieval_top_ids(retrieval, &top_length);
    const float *weight = attractor_retrieval_top_weight(retrieval, NULL);
    const attractor_statistics *statistics = attractor_retrieval_statistics(retrieval, NULL);
    check(output && steps && converged && status && energy && top && weight && statistics, "every report exists");
    check(attractor_retrieval_count(retrieval) == QUERIES && length == QUERIES * DIM, "one output for each query");
    check(attractor_retrieval_top_count(retrieval) == 2 && top_length == QUERIES * 2, "two patterns for each query");
    check(attractor_retrieval_weights(retrieval, &length) == NULL && length == 0, "weights were not asked for");

    for (size_t q = 0; q < QUERIES; q++) {
        float worst = 0;
        for (size_t i = 0; i < DIM; i++) {
            worst = fmaxf(worst, fabsf(output[q * DIM + i] - patterns[q * DIM + i]));
        }
        check(worst < 1e-3f, "the pattern is recalled");
        check(top[q * 2] == first_id + q && weight[q * 2] > 0.99f, "its id has the weight");
        check(converged[q] && status[q] == ATTRACTOR_STATUS_ANSWERED, "the query has come to rest");
        check(statistics[q].kind == ATTRACTOR_FIXED_POINT_SINGLE && isfinite(energy[q]), "at that pattern alone");
    }
    printf("  %d of %d recalled; query 0: %u steps, energy %.3f, pattern %llu with weight %.4f\n", QUERIES, QUERIES,
           (unsigned)steps[0], energy[0], (unsigned long long)top[0], weight[0]);
}

/* What a program does in each turn of its loop. */
static double draw_frame(void) {
    double sum = 0;
    for (int i = 1; i < 10000; i++) {
        sum += 1.0 / i;
    }
    return sum;
}

/* Checks that the library that runs has the version of the header. */
static void check_version(void) {
    char version[64];
    int length = snprintf(version, sizeof version, "%d.%d.%d", ATTRACTOR_VERSION_MAJOR, ATTRACTOR_VERSION_MINOR,
                          ATTRACTOR_VERSION_PATCH);
    check(strncmp(attractor_version(), version, (size_t)length) == 0, "the library has the version of the header");
}

static void check_errors(const attractor_device *device, const float *queries) {
    static float output[QUERIES * DIM];
    const float not_finite[2] = {0, NAN};
    attractor_memory *memory = NULL;
    attractor_memory_options options;
    attractor_retrieve_options retrieve;
    attractor_retrieval *retrieval = NULL;

    must(attractor_memory_options_init(&options, sizeof options, DIM), "options");
    must_fail(attractor_memory_create(device, &options, NULL), ATTRACTOR_ERROR_NULL_POINTER, "memory is NULL");
    must_fail(attractor_memory_create(NULL, &options, &memory), ATTRACTOR_ERROR_NULL_POINTER, "device is NULL");
    options.separation = 77;
    must_fail(attractor_memory_create(device, &options, &memory), ATTRACTOR_ERROR_PARAMETER, "separation");
    options.separation = ATTRACTOR_SEPARATION_ENTMAX;
    options.alpha = 0.5f;
    must_fail(attractor_memory_create(device, &options, &memory), ATTRACTOR_ERROR_PARAMETER, "alpha");
    check(memory == NULL, "there is no memory where there was an error");

    must(attractor_memory_options_init(&options, sizeof options, 2), "options");
    must(attractor_memory_create(device, &options, &memory), "memory");
    must_fail(attractor_memory_retrieve(memory, queries, 2, 1, NULL, output, 2, NULL), ATTRACTOR_ERROR_EMPTY, "empty");
    must(attractor_memory_add(memory, NULL, 0, NULL, 0, NULL, 0, 0, NULL), "nothing is added");
    must_fail(attractor_memory_add(memory, NULL, 2, NULL, 0, NULL, 0, 1, NULL), ATTRACTOR_ERROR_NULL_POINTER,
              "keys is NULL");
    must_fail(attractor_memory_add(memory, queries, 2, NULL, 0, NULL, 0, SIZE_MAX, NULL), ATTRACTOR_ERROR_LIMIT,
              "elements");
    must_fail(attractor_memory_add(memory, queries, 3, NULL, 0, NULL, 0, 1, NULL), ATTRACTOR_ERROR_SHAPE,
              "keys of 1 x 2");
    must_fail(attractor_memory_add(memory, queries, 2, queries, 2, NULL, 0, 1, NULL), ATTRACTOR_ERROR_SHAPE,
              "keys alone");
    must_fail(attractor_memory_add(memory, not_finite, 2, NULL, 0, NULL, 0, 1, NULL), ATTRACTOR_ERROR_NOT_FINITE,
              "column 1");
    must(attractor_memory_add(memory, queries, 6, NULL, 0, NULL, 0, 3, NULL), "three patterns");
    must_fail(attractor_memory_retrieve(memory, queries, 2, 1, NULL, output, 3, NULL), ATTRACTOR_ERROR_SHAPE,
              "output of 2 elements");
    must_fail(attractor_memory_retrieve(memory, queries, 1, 1, NULL, output, 2, NULL), ATTRACTOR_ERROR_SHAPE,
              "queries of 1 x 2");
    must_fail(attractor_memory_retrieve(memory, queries, 2, 1, NULL, NULL, 0, NULL), ATTRACTOR_ERROR_NULL_POINTER,
              "output");
    must_fail(attractor_memory_remove(memory, 99), ATTRACTOR_ERROR_UNKNOWN_ID, "99");
    must(attractor_retrieve_options_init(&retrieve, sizeof retrieve), "retrieve options");
    retrieve.steps = 0;
    must_fail(attractor_memory_retrieve(memory, queries, 2, 1, &retrieve, output, 2, &retrieval),
              ATTRACTOR_ERROR_PARAMETER, "steps");
    check(retrieval == NULL, "there is no retrieval where there was an error");
    attractor_memory_free(memory);
}

int main(int argc, char **argv) {
    static float patterns[PATTERNS * DIM], queries[QUERIES * DIM], output[QUERIES * DIM];
    attractor_device *device = open_device(argc > 1 ? argv[1] : "best");
    attractor_memory *memory = NULL;
    attractor_memory_options options;
    attractor_retrieve_options retrieve;
    attractor_retrieval *waited = NULL, *polled = NULL;
    attractor_pending *pending = NULL;
    attractor_pending_hits *searching = NULL;
    attractor_hits *hits = NULL;
    attractor_error code;
    uint64_t first_id = 0;
    unsigned frames = 0;
    double drawn = 0;

    check_version();
    printf("attractor %s on %s (%s, %s)\n", attractor_version(), attractor_device_name(device),
           attractor_device_backend(device), attractor_device_kind(device));

    /* Patterns of +1 and -1; a query is one of them with some signs turned. */
    for (size_t i = 0; i < PATTERNS * DIM; i++) {
        patterns[i] = random_bits() % 2 ? 1.0f : -1.0f;
    }
    memcpy(queries, patterns, sizeof queries);
    for (size_t q = 0; q < QUERIES; q++) {
        for (size_t i = 0; i < FLIPPED; i++) {
            queries[q * DIM + random_bits() % DIM] *= -1;
        }
    }

    must(attractor_memory_options_init(&options, sizeof options, DIM), "options");
    options.beta = 1;
    must(attractor_memory_create(device, &options, &memory), "memory");
    must(attractor_memory_reserve(memory, PATTERNS), "room");
    must(attractor_memory_add(memory, patterns, PATTERNS * DIM, NULL, 0, NULL, 0, PATTERNS, &first_id), "patterns");
    check(attractor_memory_len(memory) == PATTERNS && attractor_memory_contains(memory, first_id), "they are stored");

    must(attractor_retrieve_options_init(&retrieve, sizeof retrieve), "retrieve options");
    retrieve.converge = 1;
    retrieve.steps = 20;
    retrieve.top = 2;
    retrieve.energy = 1;
    retrieve.statistics = 1;

    printf("waiting:\n");
    must(attractor_memory_retrieve(memory, queries, QUERIES * DIM, QUERIES, &retrieve, output, QUERIES * DIM, &waited),
         "retrieval");
    check_answers(waited, patterns, first_id);

    printf("polling:\n");
    must(attractor_memory_retrieve_begin(memory, queries, QUERIES * DIM, QUERIES, &retrieve, &pending), "retrieval");
    while ((code = attractor_pending_take(pending, &polled)) == ATTRACTOR_NOT_READY) {
        drawn += draw_frame();
        frames++;
    }
    must(code, "the answer");
    check_answers(polled, patterns, first_id);
    check(memcmp(output, attractor_retrieval_output(polled, NULL), sizeof output) == 0, "the same bits both times");
    check(attractor_pending_is_ready(pending), "nothing to wait for any more");
    printf("  %u frames drawn meanwhile, as %.0f harmonic numbers say\n", frames, drawn / 9.7875);
    attractor_retrieval_free(polled);
    must_fail(attractor_pending_take(pending, &polled), ATTRACTOR_ERROR_TAKEN, "taken before");
    check(polled == NULL, "an answer is given once");
    attractor_pending_free(pending);

    printf("searching:\n");
    must(attractor_memory_search_begin(memory, queries, QUERIES * DIM, QUERIES, NULL, &searching), "search");
    while ((code = attractor_pending_hits_take(searching, &hits)) == ATTRACTOR_NOT_READY)
        drawn += draw_frame();
    must(code, "the hits");
    check(attractor_hits_count(hits) == QUERIES && attractor_hits_places(hits) == PATTERNS, "all patterns, in order");
    check(attractor_hits_ids(hits, NULL)[0] == attractor_retrieval_top_ids(waited, NULL)[0], "it weighs most, too");
    attractor_hits_free(hits);
    must_fail(attractor_pending_hits_take(searching, &hits), ATTRACTOR_ERROR_TAKEN, "taken before");
    attractor_pending_hits_free(searching);

    printf("forgetting:\n");
    must(attractor_memory_remove(memory, first_id), "removal");
    must(attractor_memory_retrieve(memory, queries, DIM, 1, NULL, output, DIM, NULL), "retrieval");
    check(!attractor_memory_contains(memory, first_id) && attractor_memory_len(memory) == PATTERNS - 1, "it is gone");
    check(memcmp(output, attractor_retrieval_output(waited, NULL), DIM * sizeof(float)) != 0, "and is not recalled");
    printf("  %u patterns are left\n", (unsigned)attractor_memory_len(memory));

    /* Dropped on its way, with the memory that it is from. */
    must(attractor_memory_retrieve_begin(memory, queries, QUERIES * DIM, QUERIES, &retrieve, &pending), "retrieval");
    attractor_memory_free(memory);
    attractor_pending_free(pending);
    attractor_retrieval_free(waited);

    printf("errors:\n");
    check_errors(device, queries);
    attractor_device_free(device);
    printf("all is well\n");
    return EXIT_SUCCESS;
}
