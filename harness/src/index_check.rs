//! Kernels rewritten so that every index is compared with the length of what it indexes, and workgroup memory starts
//! out as garbage.

use std::collections::BTreeMap;
// Writing to a String cannot fail.
use std::fmt::Write;
use std::sync::{Arc, Mutex};

use attractor::internals::{IndexCheck, KERNELS, watch};
use attractor::{Device, wgpu};

/// The functions that every index goes through start with this.
pub const WATCHED: &str = "watched_index";

/// At most so many places of one kernel index something: a bit each.
const PLACES: usize = 128;
const WORDS: usize = PLACES / 32;

/// `text` with every index going through a function that marks its place as reached, and as strayed where the index is
/// not below the length. The marks are kept in registers and go to the storage buffer behind the kernel's own at the
/// end, to the `kernel`-th of its parts: marks of indices that a compiler knows cost nothing. `place` numbers the
/// places, named as they stand in the text.
pub fn rewrite(text: &str, kernel: usize, mut place: impl FnMut(&str) -> usize) -> String {
    // Comments may hold anything.
    let text: String = text.lines().map(|line| line.split("//").next().unwrap().trim_end().to_owned() + "\n").collect();
    let arrays = arrays(&text);
    let lengths = arrays.iter().map(|array| (array.name, array.lengths())).collect::<BTreeMap<_, _>>();
    for array in &arrays {
        assert_eq!(lengths[array.name], array.lengths(), "{} is two arrays of one kernel", array.name);
    }
    let mut new = enclose(&indices(&text, None, &lengths, &mut place), &arrays);
    let (binding, first) = (text.matches("@binding(").count(), 2 * WORDS * kernel);
    let _ = writeln!(new, "@group(0) @binding({binding}) var<storage, read_write> watched: array<atomic<u32>>;");
    for word in 0..WORDS {
        let _ = write!(
            new,
            "var<private> reached_{word}: u32;\n\
             var<private> strayed_{word}: u32;\n\
             fn {WATCHED}_{word}(index: u32, length: u32, mark: u32) -> u32 {{\n\
                 reached_{word} |= mark;\n\
                 strayed_{word} |= select(0u, mark, index >= length);\n\
                 return min(index, length - 1u);\n\
             }}\n"
        );
    }
    new += "fn watched_end() {\n";
    for (at, (what, word)) in
        (first..).zip(["reached", "strayed"].into_iter().flat_map(|what| (0..WORDS).map(move |word| (what, word))))
    {
        let _ = writeln!(new, "if ({what}_{word} != 0u) {{ atomicOr(&watched[{at}], {what}_{word}); }}");
    }
    new + "}\n"
}

struct Array<'a> {
    name: &'a str,
    element: &'a str,
    /// Absent where the binding decides.
    fixed: Option<&'a str>,
    shared: bool,
}

impl Array<'_> {
    /// Of the array, and of what its elements are where these are arrays.
    fn lengths(&self) -> Vec<String> {
        let outer = self.fixed.map_or_else(|| format!("arrayLength(&{})", self.name), str::to_owned);
        std::iter::once(outer).chain(self.inner().and_then(|(_, length)| length).map(str::to_owned)).collect()
    }

    /// The elements and the length of the elements, where these are arrays.
    fn inner(&self) -> Option<(&str, Option<&str>)> {
        self.element.strip_prefix("array<").and_then(|inner| inner.strip_suffix('>')).map(split)
    }
}

/// The element and the length of an array, which stand between its brackets.
fn split(inner: &str) -> (&str, Option<&str>) {
    // The comma that no inner type holds.
    let comma = inner
        .char_indices()
        .find(|(i, c)| *c == ',' && inner[..*i].matches('<').count() == inner[..*i].matches('>').count());
    match comma {
        Some((i, _)) => (&inner[..i], Some(inner[i + 1..].trim())),
        None => (inner, None),
    }
}

/// Every array that is declared: `NAME: array<ELEMENT>` or `NAME: array<ELEMENT, LENGTH>`.
fn arrays(text: &str) -> Vec<Array<'_>> {
    const START: &str = ": array<";
    let mut found = Vec::new();
    for (at, _) in text.match_indices(START) {
        let inner = &text[at + START.len()..];
        let (element, fixed) = split(&inner[..closing(inner, '<', '>')]);
        let line = text[..at].rfind('\n').map_or(0, |i| i + 1);
        found.push(Array {
            name: word_before(text, at),
            element,
            fixed,
            shared: text[line..at].starts_with("var<workgroup>"),
        });
    }
    found
}

fn word_before(text: &str, end: usize) -> &str {
    let start = text[..end].rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |i| i + 1);
    &text[start..end]
}

/// Where the bracket that stands open at the start of `text` is closed.
fn closing(text: &str, opens: char, closes: char) -> usize {
    let mut depth = 1;
    for (i, c) in text.char_indices() {
        depth += i32::from(c == opens) - i32::from(c == closes);
        if depth == 0 {
            return i;
        }
    }
    panic!("{opens} is not closed: {text}");
}

/// `text` with its indices watched. `before` is the array, and which of its dimensions, that was indexed right before
/// it.
fn indices(
    text: &str,
    before: Option<(&str, usize)>,
    lengths: &BTreeMap<&str, Vec<String>>,
    place: &mut dyn FnMut(&str) -> usize,
) -> String {
    let Some(at) = text.find('[') else { return text.to_owned() };
    let rest = &text[at + 1..];
    let (inner, rest) = rest.split_at(closing(rest, '[', ']'));
    let (name, dimension) = match before {
        Some((name, dimension)) if &text[..at] == "]" => (name, dimension + 1),
        _ => (word_before(text, at), 0),
    };
    // A literal is held against a length by the parser, or is the first word of a buffer, none of which is empty.
    let index = match inner.trim_end_matches('u').parse::<u32>() {
        Ok(_) => inner.to_owned(),
        Err(_) => {
            let length = lengths.get(name).and_then(|lengths| lengths.get(dimension));
            let length = length.unwrap_or_else(|| panic!("{name} is indexed and is no array"));
            let number = place(&format!("{name}{}[{inner}]", "[]".repeat(dimension)));
            assert!(number < PLACES);
            let inner = indices(inner, None, lengths, place);
            format!("{WATCHED}_{}({inner}, {length}, {}u)", number / 32, 1u32 << (number % 32))
        }
    };
    format!("{}[{index}{}", &text[..at], indices(rest, Some((name, dimension)), lengths, place))
}

/// Has `main` begin with workgroup memory full of garbage, and end with what was marked.
fn enclose(text: &str, arrays: &[Array<'_>]) -> String {
    let main = text.find("fn main(").unwrap();
    let begin = main + text[main..].find('{').unwrap() + 1;
    let end = begin + closing(&text[begin..], '{', '}');
    let mut filled = String::new();
    for array in arrays.iter().filter(|array| array.shared) {
        let (name, length) = (array.name, array.fixed.unwrap());
        let (element, at, within) = match array.inner() {
            Some((element, inner)) => (element, "spoiled][spoiled_within", inner.unwrap()),
            None => (array.element, "spoiled", "1u"),
        };
        let (_, local) = text[main..].split_once("@builtin(local_invocation_index) ").unwrap();
        let (local, _) = local.split_once(':').unwrap();
        let fill = match element {
            "f32" => format!("{name}[{at}] = 7.0e37;"),
            "vec2<f32>" | "vec4<f32>" => format!("{name}[{at}] = {element}(7.0e37);"),
            "f16" | "vec4<f16>" => format!("{name}[{at}] = {element}(6.0e4h);"),
            "u32" => format!("{name}[{at}] = 0xdeaddeadu;"),
            "atomic<u32>" => format!("atomicStore(&{name}[{at}], 0xdeaddeadu);"),
            other => panic!("workgroup memory of {other}"),
        };
        let fill =
            format!("for (var spoiled_within = 0u; spoiled_within < {within}; spoiled_within += 1u) {{ {fill} }}");
        let _ = writeln!(filled, "for (var spoiled = {local}; spoiled < {length}; spoiled += 64u) {{ {fill} }}");
    }
    let body = text[begin..end].replace("return;", "watched_end();\nreturn;");
    format!("{}\n{filled}workgroupBarrier();\n{body}watched_end();\n{}", &text[..begin], &text[end..])
}

/// What the kernels of one device were seen to do.
pub struct Seen {
    buffer: wgpu::Buffer,
    /// The places of every kernel by their names.
    places: Arc<Mutex<Vec<BTreeMap<String, usize>>>>,
}

impl Seen {
    /// Watches every kernel that `device` compiles from here on, each first changed by `damage`.
    pub fn watch(device: &Device, damage: impl Fn(&str, &str) -> String + Send + Sync + 'static) -> Self {
        let (gpu, _) = device.wgpu().unwrap();
        let buffer = gpu.create_buffer(&wgpu::BufferDescriptor {
            label: Some("watched"),
            size: (4 * 2 * WORDS * KERNELS.len()) as u64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        let places = Arc::new(Mutex::new(vec![BTreeMap::new(); KERNELS.len()]));
        let known = places.clone();
        let rewrite = move |stem: &str, text: &str| {
            let kernel = KERNELS.iter().position(|kernel| kernel.stem == stem).unwrap();
            let known = &mut known.lock().unwrap()[kernel];
            rewrite(&damage(stem, text), kernel, |place| {
                let next = known.len();
                *known.entry(place.to_owned()).or_insert(next)
            })
        };
        assert!(watch(device, IndexCheck { rewrite: Box::new(rewrite), buffer: buffer.clone() }));
        Self { buffer, places }
    }

    /// The places of all kernels that were compiled so far, each with its kernel, whether it was reached, and whether
    /// it strayed.
    pub fn places(&self, device: &Device) -> Vec<(&'static str, String, bool, bool)> {
        let (gpu, queue) = device.wgpu().unwrap();
        let staging = gpu.create_buffer(&wgpu::BufferDescriptor {
            label: Some("watched"),
            size: self.buffer.size(),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = gpu.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(&self.buffer, 0, &staging, 0, staging.size());
        queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., |result| result.unwrap());
        gpu.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        let words: Vec<[u32; WORDS]> = bytemuck::pod_collect_to_vec(&staging.get_mapped_range(..).unwrap());
        let mut told = Vec::new();
        for (kernel, places) in self.places.lock().unwrap().iter().enumerate() {
            let marked = |what: usize, place: usize| words[2 * kernel + what][place / 32] >> (place % 32) & 1 == 1;
            for (name, place) in places {
                told.push((KERNELS[kernel].stem, name.clone(), marked(0, *place), marked(1, *place)));
            }
        }
        told
    }

    /// Those that strayed.
    pub fn strayed(&self, device: &Device) -> Vec<(&'static str, String)> {
        self.places(device).into_iter().filter(|place| place.3).map(|(stem, place, ..)| (stem, place)).collect()
    }
}
