// The beta of a query: its own times that of the kernel, or that of the kernel. For kernels that bind `keep`, set RECORDS,
// and have `params.records_first` and `params.beta`. See `lib/own`.

fn beta_of(query: u32) -> f32 {
    if (RECORDS == 0u) {
        return params.beta;
    }
    return params.beta * bitcast<f32>(keep[params.records_first + 4u * query]);
}
