// A flat index over a grid that was folded because one dimension holds at most 65,535 workgroups. `width` is that of
// the whole grid: a dispatch may be a part of it, which starts at `base.xyz` of its parameters.

fn flat_index(workgroup: vec3<u32>, width: u32) -> u32 {
    return workgroup.x + workgroup.y * width;
}
