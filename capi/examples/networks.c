/*
 * Networks beside attention, and checks of every answer: a classical Hopfield network that repairs a pattern and one
 * that falls into a cycle, a dense network beyond the classical capacity, a sparse distributed memory, and one memory
 * that holds several groups of patterns, asked with a beta for each query, without the pattern that a query is itself.
 *
 *     networks [cpu | best | vulkan-software]
 *
 * Exit status: 0, 1 where something is wrong, 77 where there is no such adapter. It is C11, and C++ as well. To build it
 * in the root of the repository, with the library as Cargo builds it:
 *
 *     cargo build --release -p attractor-capi
 *     cc -Icapi/include capi/examples/networks.c -Ltarget/release -lattractor -Wl,-rpath,target/release -lm -o networks
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attractor.h"

enum { DIM = 64, MANY = 200, FLIPPED = 5, NO_ADAPTER = 77 };

/* Ends the program where a call that should succeed does not. */
static void must(attractor_error code, const char *what) {
    if (code != ATTRACTOR_OK) {
        fprintf(stderr, "networks: %s: %s (error %d)\n", what, attractor_last_error_message(), (int)code);
        exit(code == ATTRACTOR_ERROR_NO_ADAPTER ? NO_ADAPTER : EXIT_FAILURE);
    }
}

/* Ends the program where an expectation fails. */
static void check(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "networks: not so: %s (last error: \"%s\")\n", what, attractor_last_error_message());
        exit(EXIT_FAILURE);
    }
}

/* 1 or -1, the same on every machine. */
static float random_sign(void) {
    static uint64_t state = 7;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 62) & 1 ? 1.0f : -1.0f;
}

static attractor_device *open_device(const char *name) {
    attractor_device *device = NULL;
    attractor_device_options options;
    if (strcmp(name, "cpu") == 0) {
        must(attractor_device_cpu(&device), name);
        return device;
    }
    must(attractor_device_options_init(&options, sizeof options), "device options");
    if (strcmp(name, "vulkan-software") == 0) {
        options.backend = ATTRACTOR_BACKEND_VULKAN;
        options.software = ATTRACTOR_SOFTWARE_REQUIRE;
    }
    must(attractor_device_open(&options, &device), name);
    return device;
}

/* A memory of bipolar patterns whose updates end with signs and in which no coordinate couples with itself. */
static attractor_memory *hopfield(attractor_device *device, uint32_t separation, uint32_t n, size_t dim,
                                  const float *patterns, size_t count) {
    attractor_memory *memory = NULL;
    attractor_memory_options options;
    must(attractor_memory_options_init(&options, sizeof options, dim), "memory options");
    options.separation = separation;
    options.n = n;
    options.beta = 1;
    options.activation = ATTRACTOR_ACTIVATION_SIGN_KEEP;
    options.remove_self = 1;
    must(attractor_memory_create(device, &options, &memory), "create");
    must(attractor_memory_add(memory, patterns, count * dim, NULL, 0, NULL, 0, count, NULL), "add");
    return memory;
}

/* The state that a query comes to within some updates, and whether it rested, cycled or went on. */
static attractor_status settle(attractor_memory *memory, const float *query, size_t dim, float *state) {
    attractor_retrieval *retrieval = NULL;
    attractor_retrieve_options options;
    attractor_status status;
    must(attractor_retrieve_options_init(&options, sizeof options), "retrieve options");
    options.converge = 1;
    options.steps = 20;
    must(attractor_memory_retrieve(memory, query, dim, 1, &options, NULL, 0, &retrieval), "retrieve");
    memcpy(state, attractor_retrieval_state(retrieval, NULL), dim * sizeof *state);
    status = attractor_retrieval_status(retrieval, NULL)[0];
    printf("  %u updates, status %d\n", (unsigned)attractor_retrieval_steps(retrieval, NULL)[0], (int)status);
    attractor_retrieval_free(retrieval);
    return status;
}

/* Hopfield networks: three patterns by a linear separation, 200 by cubes, and two states that follow each other. */
static void hopfield_networks(attractor_device *device) {
    static float patterns[MANY * DIM];
    const float pair[2] = {1, 1}, between[2] = {1, -1};
    float noisy[DIM], state[DIM];
    attractor_memory *memory;
    size_t i, c;
    for (i = 0; i < MANY * DIM; i++) patterns[i] = random_sign();

    puts("classical Hopfield network");
    memcpy(noisy, patterns + DIM, sizeof noisy);
    for (c = 0; c < FLIPPED; c++) noisy[11 * c] = -noisy[11 * c];
    memory = hopfield(device, ATTRACTOR_SEPARATION_LINEAR, 1, DIM, patterns, 3);
    check(settle(memory, noisy, DIM, state) == ATTRACTOR_STATUS_ANSWERED, "it rests");
    check(memcmp(state, patterns + DIM, sizeof state) == 0, "the pattern came back");
    attractor_memory_free(memory);

    puts("dense network of 200 patterns");
    memory = hopfield(device, ATTRACTOR_SEPARATION_POWER, 3, DIM, patterns, MANY);
    check(settle(memory, noisy, DIM, state) == ATTRACTOR_STATUS_ANSWERED, "it rests");
    check(memcmp(state, patterns + DIM, sizeof state) == 0, "the pattern came back");
    attractor_memory_free(memory);

    puts("a cycle");
    memory = hopfield(device, ATTRACTOR_SEPARATION_LINEAR, 1, 2, pair, 1);
    check(settle(memory, between, 2, state) == ATTRACTOR_STATUS_CYCLE, "it cycles");
    check(state[0] == 1 && state[1] == -1, "the state is that after 20 updates");
    attractor_memory_free(memory);
}

/* Kanerva's memory: the sum of the values whose keys are near. */
static void sparse_distributed_memory(attractor_device *device) {
    const float keys[3 * 4] = {1, 1, 1, 1, 1, 1, 1, -1, -1, -1, 1, -1}, values[3 * 2] = {1, 2, 10, 20, 100, 200};
    const float query[4] = {1, 1, 1, 1};
    float sum[2];
    attractor_memory *memory = NULL;
    attractor_memory_options options;
    puts("sparse distributed memory");
    must(attractor_memory_options_init(&options, sizeof options, 4), "memory options");
    options.value_dim = 2;
    options.separation = ATTRACTOR_SEPARATION_STEP;
    options.step_threshold = 2;
    options.beta = 1;
    must(attractor_memory_create(device, &options, &memory), "create");
    must(attractor_memory_add(memory, keys, 12, values, 6, NULL, 0, 3, NULL), "add");
    must(attractor_memory_retrieve(memory, query, 4, 1, NULL, sum, 2, NULL), "retrieve");
    check(sum[0] == 11 && sum[1] == 22, "two keys are near");
    attractor_memory_free(memory);
}

/* One memory of two groups, a beta for each query, a pattern left out, and a field. */
static void queries_of_their_own(attractor_device *device) {
    const float keys[4] = {1, 2, 5, 7}, queries[4] = {1, 1, 1, 1}, betas[4] = {0, 50, 0, 0};
    const uint64_t exclude[4] = {ATTRACTOR_NO_PATTERN, ATTRACTOR_NO_PATTERN, 3, ATTRACTOR_NO_PATTERN};
    const size_t rows[8] = {0, 2, 0, 2, 2, 4, 2, 4};
    const float field[4] = {0, 0, 0, 0.5f};
    attractor_memory *memory = NULL;
    attractor_retrieval *retrieval = NULL;
    attractor_memory_options options;
    attractor_retrieve_options asked;
    const float *state;
    puts("queries with a range, a beta, an exclusion and a field of their own");
    must(attractor_memory_options_init(&options, sizeof options, 1), "memory options");
    must(attractor_memory_create(device, &options, &memory), "create");
    must(attractor_memory_add(memory, keys, 4, NULL, 0, NULL, 0, 4, NULL), "add");
    must(attractor_retrieve_options_init(&asked, sizeof asked), "retrieve options");
    asked.betas = betas;
    asked.betas_length = 4;
    asked.exclude = exclude;
    asked.exclude_length = 4;
    asked.rows = rows;
    asked.rows_length = 8;
    asked.field = field;
    asked.field_length = 4;
    must(attractor_memory_retrieve(memory, queries, 4, 4, &asked, NULL, 0, &retrieval), "retrieve");
    state = attractor_retrieval_state(retrieval, NULL);
    check(fabsf(state[0] - 1.5f) < 1e-5f && fabsf(state[1] - 2) < 1e-5f, "the first group: its mean, its largest");
    check(fabsf(state[2] - 5) < 1e-5f && fabsf(state[3] - 6.5f) < 1e-5f, "the second: one left out; a field added");
    attractor_retrieval_free(retrieval);
    asked.rows_length = 7;
    check(attractor_memory_retrieve(memory, queries, 4, 4, &asked, NULL, 0, &retrieval) == ATTRACTOR_ERROR_SHAPE,
          "an odd number of positions is refused");
    attractor_memory_free(memory);
}

int main(int argc, char **argv) {
    attractor_device *device = open_device(argc > 1 ? argv[1] : "best");
    printf("on %s\n", attractor_device_name(device));
    hopfield_networks(device);
    sparse_distributed_memory(device);
    queries_of_their_own(device);
    attractor_device_free(device);
    puts("all is well");
    return EXIT_SUCCESS;
}
