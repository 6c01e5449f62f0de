// A flat index over a grid that was folded because one dimension holds at most 65,535 workgroups.

fn flat_index(workgroup: vec3<u32>, grid: vec3<u32>) -> u32 {
    return workgroup.x + workgroup.y * grid.x;
}
