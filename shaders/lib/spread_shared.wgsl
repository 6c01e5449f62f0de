// Rows that all invocations of a workgroup go through together. The workgroup brings SPAN rows into shared memory, and
// every invocation reads the same four of them at a time. For `fused_register`.

const SPAN: u32 = 16u;

// Rows of columns rather than one array: FXC takes a fifth less time over them.
var<workgroup> span_keys: array<array<vec4<f32>, KEYS>, SPAN>;
var<workgroup> span_payload: array<array<vec4<f32>, OUT>, SPAN * (1u - SAME) + 1u>;
var<workgroup> span_terms: array<vec4<f32>, SPAN * TERMS + 1u>;
var<private> place: u32;

// Rows `first ..` as far as they go; all invocations must call it together.
fn bring_span(local: u32, first: u32, end: u32, first_column: u32) {
    workgroupBarrier();
    for (var i = local; i < SPAN * KEYS; i += WORKGROUP) {
        let row = min(first + i / KEYS, end - 1u);
        span_keys[i / KEYS][i % KEYS] = key_at(row, i % KEYS, terms_at(row));
    }
    if (SAME == 0u) {
        for (var i = local; i < SPAN * OUT; i += WORKGROUP) {
            let row = min(first + i / OUT, end - 1u);
            span_payload[i / OUT][i % OUT] = payload_at(row, first_column + i % OUT, terms_at(row));
        }
    }
    if (TERMS == 1u && local < SPAN) {
        span_terms[local] = terms_at(min(first + local, end - 1u));
    }
    workgroupBarrier();
}

// The four rows from row `t` of the span.
fn bring_four(first: u32, t: u32, end: u32, first_column: u32) {
    place = t;
}

// Between the two uses of the four rows: beyond a barrier the compiler fetches them again. It would hold all of them in
// registers otherwise, which are not as many.
fn forget_four() {
    workgroupBarrier();
}

fn key_of(j: u32, c: u32) -> vec4<f32> {
    return span_keys[place + j][c];
}

fn payload_of(j: u32, c: u32) -> vec4<f32> {
    if (SAME == 1u) {
        return key_of(j, c);
    }
    return span_payload[place + j][c];
}

fn terms_of(j: u32) -> vec4<f32> {
    return span_terms[place + j];
}

fn key_0(c: u32) -> vec4<f32> { return key_of(0u, c); }
fn key_1(c: u32) -> vec4<f32> { return key_of(1u, c); }
fn key_2(c: u32) -> vec4<f32> { return key_of(2u, c); }
fn key_3(c: u32) -> vec4<f32> { return key_of(3u, c); }
fn payload_0(c: u32) -> vec4<f32> { return payload_of(0u, c); }
fn payload_1(c: u32) -> vec4<f32> { return payload_of(1u, c); }
fn payload_2(c: u32) -> vec4<f32> { return payload_of(2u, c); }
fn payload_3(c: u32) -> vec4<f32> { return payload_of(3u, c); }
fn terms_0() -> vec4<f32> { return terms_of(0u); }
fn terms_1() -> vec4<f32> { return terms_of(1u); }
fn terms_2() -> vec4<f32> { return terms_of(2u); }
fn terms_3() -> vec4<f32> { return terms_of(3u); }
