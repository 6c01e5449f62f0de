// Fragments of 8 x 8: of what stands left and right in a product of halves, and of its sum. For `fused_matrix`.

const SIDE: u32 = 8u;

alias Left = coop_mat8x8<f16, A>;
alias Right = coop_mat8x8<f16, B>;
alias Accumulator = coop_mat8x8<f32, C>;
