// How scores become weights while rows are summed: under softmax by how far they are below a running maximum.
// `lib/weigh_unnormalized` has the same functions. For kernels that use `lib/score`.

// Whether what is added up beside the rows is something else than the weights.
const SELF: u32 = 0u;

// Four weights, and what is added up of each.
struct Weighed {
    weights: vec4<f32>,
    masses: vec4<f32>,
}

fn weigh_four(z: vec4<f32>, maximum: f32, counted: vec4<bool>, beta: f32) -> Weighed {
    let weights = select(vec4<f32>(0.0), exp(z - vec4<f32>(maximum)), counted);
    return Weighed(weights, weights);
}

// A weight, and what is added up of it.
fn weigh(z: f32, maximum: f32, beta: f32) -> vec2<f32> {
    return vec2<f32>(select(0.0, exp(z - maximum), z >= -SCORE_LIMIT));
}

fn potential_of(z: f32) -> f32 {
    return 0.0;
}
