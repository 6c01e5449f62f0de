//! Checksums of saved memories, as the documentation of `attractor::files` defines them.

/// The header of a safetensors file, where it is JSON.
pub fn header(data: &[u8]) -> Option<serde_json::Map<String, serde_json::Value>> {
    let length = u64::from_le_bytes(*data.first_chunk()?);
    let text = data[8..].get(..usize::try_from(length).ok()?)?;
    serde_json::from_slice(text).ok()
}

/// The same file with the checksums of what is in it.
pub fn sealed(data: &[u8]) -> Option<Vec<u8>> {
    let mut file = File::new(data)?;
    let memory =
        "format version similarity separation alpha k beta dim value_dim precision saturate bias next_id windows";
    file.seal(memory, &["keys", "key_scales", "values", "value_scales", "bias", "ids"], "", "crc32.metadata")?;
    let entries = ["entry_keys", "entry_key_ends", "entry_metadata", "entry_metadata_ends"];
    file.seal("key_type", &entries, "crc32.metadata", "crc32.entries")?;
    Some(file.data)
}

/// A file whose checksums are being corrected.
struct File {
    data: Vec<u8>,
    header: serde_json::Map<String, serde_json::Value>,
    /// The metadata as they are by now.
    texts: serde_json::Map<String, serde_json::Value>,
    /// Where the tensors start.
    start: usize,
}

impl File {
    fn new(data: &[u8]) -> Option<Self> {
        let header = header(data)?;
        let start = 8 + u64::from_le_bytes(*data.first_chunk()?) as usize;
        let texts = header.get("__metadata__")?.as_object()?.clone();
        Some(Self { data: data.to_vec(), header, texts, start })
    }

    /// Writes a checksum to its place, if it has one.
    fn put(&mut self, name: &str, crc: u32) {
        let text = format!("{crc:08x}");
        let head = format!("\"{name}\":\"");
        let found = self.data[..self.start].windows(head.len()).position(|part| part == head.as_bytes());
        let there = self.texts.get(name).and_then(|old| old.as_str()).is_some_and(|old| old.len() == 8);
        if let Some(at) = found.filter(|_| there)
            && let Some(digits) = self.data.get_mut(at + head.len()..at + head.len() + 8)
        {
            digits.copy_from_slice(text.as_bytes());
        }
        if let Some(old) = self.texts.get_mut(name) {
            *old = text.into();
        }
    }

    /// Corrects the checksums of `tensors`, and `name`: that of the metadata `first`, of those checksums, of the
    /// metadata `last`, and of the tensors.
    fn seal(&mut self, first: &str, tensors: &[&str], last: &str, name: &str) -> Option<()> {
        let mut shapes = Vec::new();
        for tensor in tensors {
            let Some(info) = self.header.get(*tensor) else { continue };
            let offset = |i: usize| {
                info["data_offsets"][i].as_u64().and_then(|at| self.start.checked_add(usize::try_from(at).ok()?))
            };
            let crc = crc32fast::hash(self.data.get(offset(0)?..offset(1)?)?);
            let shape: Vec<String> = info["shape"].as_array()?.iter().map(ToString::to_string).collect();
            shapes.push(format!("{tensor} {} {}\n", info["dtype"].as_str()?, shape.join(",")));
            self.put(&format!("crc32.{tensor}"), crc);
        }
        let checksums = tensors.iter().map(|tensor| format!("crc32.{tensor}"));
        let names = first.split_whitespace().map(String::from).chain(checksums).chain([last.to_owned()]);
        let lines = names.filter_map(|name| Some(format!("{name}={}\n", self.texts.get(&name)?.as_str()?)));
        let text = lines.collect::<String>() + &shapes.concat();
        self.put(name, crc32fast::hash(text.as_bytes()));
        Some(())
    }
}
