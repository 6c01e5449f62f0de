// Fragments of 16 x 16: of what stands left and right in a product of halves, and of its sum. For `fused_matrix`.

const SIDE: u32 = 16u;

alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Accumulator = coop_mat16x16<f32, C>;
