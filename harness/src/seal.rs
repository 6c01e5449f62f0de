//! Checksums of saved memories, as the documentation of `attractor::files` defines them.

/// The header of a safetensors file, where it is JSON.
pub fn header(data: &[u8]) -> Option<serde_json::Map<String, serde_json::Value>> {
    let length = u64::from_le_bytes(*data.first_chunk()?);
    let text = data[8..].get(..usize::try_from(length).ok()?)?;
    serde_json::from_slice(text).ok()
}

/// The same file with the checksums of what is in it.
pub fn sealed(data: &[u8]) -> Option<Vec<u8>> {
    let header = header(data)?;
    let start = 8 + u64::from_le_bytes(*data.first_chunk()?) as usize;
    let metadata = header.get("__metadata__")?.as_object()?;
    let mut sealed = data.to_vec();
    let mut texts = metadata.clone();
    let mut put = |name: &str, crc: u32| {
        let text = format!("{crc:08x}");
        let head = format!("\"{name}\":\"");
        let found = sealed[..start].windows(head.len()).position(|part| part == head.as_bytes());
        let there = metadata.get(name).and_then(|old| old.as_str()).is_some_and(|old| old.len() == 8);
        if let Some(at) = found.filter(|_| there)
            && let Some(digits) = sealed.get_mut(at + head.len()..at + head.len() + 8)
        {
            digits.copy_from_slice(text.as_bytes());
        }
        text
    };
    let parts = ["keys", "key_scales", "values", "value_scales", "bias", "ids"];
    let mut shapes = Vec::new();
    for part in parts {
        let Some(info) = header.get(part) else { continue };
        let offset =
            |i: usize| info["data_offsets"][i].as_u64().and_then(|at| start.checked_add(usize::try_from(at).ok()?));
        let bytes = data.get(offset(0)?..offset(1)?)?;
        let name = format!("crc32.{part}");
        let text = put(&name, crc32fast::hash(bytes));
        if texts.contains_key(&name) {
            texts.insert(name, text.into());
        }
        let shape: Vec<String> = info["shape"].as_array()?.iter().map(ToString::to_string).collect();
        shapes.push(format!("{part} {} {}\n", info["dtype"].as_str()?, shape.join(",")));
    }
    let names = "format version similarity separation alpha k beta dim value_dim precision saturate bias next_id \
                 windows crc32.keys crc32.key_scales crc32.values crc32.value_scales crc32.bias crc32.ids";
    let known = names.split_whitespace().filter_map(|name| Some((name, texts.get(name)?.as_str()?)));
    let mut lines: Vec<String> = known.map(|(name, text)| format!("{name}={text}\n")).collect();
    lines.extend(shapes);
    put("crc32.metadata", crc32fast::hash(lines.concat().as_bytes()));
    Some(sealed)
}
