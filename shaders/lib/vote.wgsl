// What the invocations of a workgroup vote on.

var<workgroup> votes: atomic<u32>;

// Whether any of them says so. It holds barriers: all invocations must call it together.
fn any_says(local: u32, says: bool) -> bool {
    if (local == 0u) {
        atomicStore(&votes, 0u);
    }
    workgroupBarrier();
    if (says) {
        atomicStore(&votes, 1u);
    }
    return workgroupUniformLoad(&votes) == 1u;
}
