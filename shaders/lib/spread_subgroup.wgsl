// Rows that all invocations of a subgroup go through together. Each of its invocations fetches one of four rows, and
// the first four hand them to the others: no fetch is repeated, and no memory is shared. For `fused_register`, on
// subgroups of four or more.

const SPAN: u32 = 64u;

var<private> held_keys: array<vec4<f32>, KEYS>;
var<private> held_payload: array<vec4<f32>, OUT * (1u - SAME) + 1u>;
var<private> held_terms: vec4<f32>;
var<private> lane: u32;

fn bring_span(local: u32, first: u32, end: u32, first_column: u32) {
    // Which of the four is fetched: the place within the subgroup, of which `local` need not tell.
    lane = subgroupExclusiveAdd(1u) % 4u;
}

fn hold_keys(row: u32, c: u32) {
    held_keys[c] = key_at(row, c, held_terms);
    held_keys[c + 1u] = key_at(row, c + 1u, held_terms);
    held_keys[c + 2u] = key_at(row, c + 2u, held_terms);
    held_keys[c + 3u] = key_at(row, c + 3u, held_terms);
}

fn hold_payload(row: u32, first_column: u32, c: u32) {
    held_payload[c] = payload_at(row, first_column + c, held_terms);
    held_payload[c + 1u] = payload_at(row, first_column + c + 1u, held_terms);
    held_payload[c + 2u] = payload_at(row, first_column + c + 2u, held_terms);
    held_payload[c + 3u] = payload_at(row, first_column + c + 3u, held_terms);
}

// The four rows from row `t` of the span.
fn bring_four(first: u32, t: u32, end: u32, first_column: u32) {
    let row = min(first + t + lane, end - 1u);
    held_terms = terms_at(row);
    hold_keys(row, 0u);
    if (KEYS > 4u) { hold_keys(row, 4u); }
    if (KEYS > 8u) { hold_keys(row, 8u); }
    if (KEYS > 12u) { hold_keys(row, 12u); }
    if (KEYS > 16u) { hold_keys(row, 16u); }
    if (KEYS > 20u) { hold_keys(row, 20u); }
    if (KEYS > 24u) { hold_keys(row, 24u); }
    if (KEYS > 28u) { hold_keys(row, 28u); }
    if (SAME == 0u) {
        hold_payload(row, first_column, 0u);
        if (OUT > 4u) { hold_payload(row, first_column, 4u); }
        if (OUT > 8u) { hold_payload(row, first_column, 8u); }
        if (OUT > 12u) { hold_payload(row, first_column, 12u); }
    }
}

// They are held: there is nothing to fetch again.
fn forget_four() {
}

fn key_0(c: u32) -> vec4<f32> { return subgroupBroadcast(held_keys[c], 0u); }
fn key_1(c: u32) -> vec4<f32> { return subgroupBroadcast(held_keys[c], 1u); }
fn key_2(c: u32) -> vec4<f32> { return subgroupBroadcast(held_keys[c], 2u); }
fn key_3(c: u32) -> vec4<f32> { return subgroupBroadcast(held_keys[c], 3u); }
fn payload_of(c: u32) -> vec4<f32> {
    if (SAME == 1u) {
        return held_keys[c];
    }
    return held_payload[c];
}

fn payload_0(c: u32) -> vec4<f32> { return subgroupBroadcast(payload_of(c), 0u); }
fn payload_1(c: u32) -> vec4<f32> { return subgroupBroadcast(payload_of(c), 1u); }
fn payload_2(c: u32) -> vec4<f32> { return subgroupBroadcast(payload_of(c), 2u); }
fn payload_3(c: u32) -> vec4<f32> { return subgroupBroadcast(payload_of(c), 3u); }
fn terms_0() -> vec4<f32> { return subgroupBroadcast(held_terms, 0u); }
fn terms_1() -> vec4<f32> { return subgroupBroadcast(held_terms, 1u); }
fn terms_2() -> vec4<f32> { return subgroupBroadcast(held_terms, 2u); }
fn terms_3() -> vec4<f32> { return subgroupBroadcast(held_terms, 3u); }
