// The list of queries that a kernel works on: how many there are, and which. For kernels that bind `queries`. A list
// that was written for another retrieval, because a recording was dropped half-way, must not lead outside the buffers
// of this one: `base.w` of the parameters is the number of its queries.

fn listed() -> u32 {
    return min(queries[0], params.base.w);
}

// The query at `slot`, which is below `listed()`.
fn query_at(slot: u32) -> u32 {
    return min(queries[1u + slot], params.base.w - 1u);
}
