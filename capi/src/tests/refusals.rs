//! Calls that are refused, and what their messages say.

use std::ffi::{CStr, c_char};
use std::ptr::{null, null_mut};

use super::calls::*;
use crate::attractor_error::*;
use crate::*;

#[test]
fn null_is_refused_everywhere() {
    let memory = Owned::of_two(4);
    let (query, mut output, mut id) = ([1.0f32, 0.0], [0.0f32; 2], 0);
    let (none, path) = (null_mut::<attractor_memory>(), c"file".as_ptr());
    let options = memory_options(2);
    let null_pointer = |code, what: &str| refused(code, ATTRACTOR_ERROR_NULL_POINTER, &[what, "is NULL"]);
    // SAFETY: null is what the functions are to refuse; the rest is as it should be.
    unsafe {
        let device = given(|device| attractor_device_cpu(device));
        let (mut a_memory, mut a_retrieval, mut a_pending) = (null_mut(), null_mut(), null_mut());
        null_pointer(attractor_device_best(null_mut()), "device");
        null_pointer(attractor_device_cpu(null_mut()), "device");
        null_pointer(attractor_device_options_init(null_mut(), 40), "options");
        null_pointer(attractor_device_open(null(), &mut null_mut()), "options");
        null_pointer(attractor_adapters_list(null_mut(), null_mut()), "adapters");
        null_pointer(attractor_memory_options_init(null_mut(), 64, 2), "options");
        null_pointer(attractor_load_options_init(null_mut(), 32), "options");
        null_pointer(attractor_memory_create(null(), &raw const options, &raw mut a_memory), "device");
        null_pointer(attractor_memory_create(device, null(), &raw mut a_memory), "options");
        null_pointer(attractor_memory_create(device, &raw const options, null_mut()), "memory");
        null_pointer(attractor_memory_load(device, null(), null(), &raw mut a_memory), "path");
        null_pointer(attractor_memory_load(null(), path, null(), &raw mut a_memory), "device");
        null_pointer(attractor_memory_load(device, path, null(), null_mut()), "memory");
        null_pointer(attractor_memory_id_at(none, 0, &raw mut id), "memory");
        null_pointer(attractor_memory_id_at(memory.0, 0, null_mut()), "id");
        null_pointer(add(none, query.as_ptr(), null(), null(), 1, null_mut()), "memory");
        null_pointer(add(memory.0, null(), null(), null(), 1, null_mut()), "keys");
        null_pointer(update(none, 0, query.as_ptr(), null(), null()), "memory");
        null_pointer(update(memory.0, 0, null(), null(), null()), "keys");
        null_pointer(attractor_memory_remove(none, 0), "memory");
        null_pointer(attractor_memory_clear(none), "memory");
        null_pointer(attractor_memory_reserve(none, 1), "memory");
        null_pointer(attractor_memory_get(none, 0, null_mut(), 0, null_mut(), 0, null_mut()), "memory");
        null_pointer(attractor_memory_get(memory.0, 0, null_mut(), 2, null_mut(), 0, null_mut()), "key");
        null_pointer(attractor_memory_save(none, path), "memory");
        null_pointer(attractor_memory_save(memory.0, null()), "path");
        let out = output.as_mut_ptr();
        null_pointer(ask(none, query.as_ptr(), 1, null(), out, 2, null_mut()), "memory");
        null_pointer(ask(memory.0, null(), 1, null(), out, 2, null_mut()), "queries");
        null_pointer(ask(memory.0, query.as_ptr(), 1, null(), null_mut(), 2, null_mut()), "output");
        null_pointer(begin(none, query.as_ptr(), 1, null(), &raw mut a_pending), "memory");
        null_pointer(begin(memory.0, null(), 1, null(), &raw mut a_pending), "queries");
        null_pointer(begin(memory.0, query.as_ptr(), 1, null(), null_mut()), "pending");
        null_pointer(attractor_retrieve_options_init(null_mut(), 88), "options");
        null_pointer(attractor_pending_take(null_mut(), &raw mut a_retrieval), "pending");
        null_pointer(attractor_pending_wait(null_mut(), &raw mut a_retrieval), "pending");
        let (mut a_search, mut hits) = (null_mut(), null_mut());
        let search = |memory, query, pending| attractor_memory_search_begin(memory, query, 2, 1, null(), pending);
        null_pointer(search(none, query.as_ptr(), &raw mut a_search), "memory");
        null_pointer(search(memory.0, null(), &raw mut a_search), "queries");
        null_pointer(search(memory.0, query.as_ptr(), null_mut()), "pending");
        null_pointer(attractor_pending_hits_take(null_mut(), &raw mut hits), "pending");
        null_pointer(attractor_pending_hits_wait(null_mut(), &raw mut hits), "pending");
        assert!(a_search.is_null() && hits.is_null() && attractor_pending_hits_is_ready(null_mut()));
        assert!(a_memory.is_null() && a_retrieval.is_null() && a_pending.is_null());

        assert!(attractor_pending_is_ready(null_mut()), "what waits for it does not wait for ever");
        assert!(!attractor_memory_contains(none, 0));
        let numbers =
            [attractor_memory_len, attractor_memory_dim, attractor_memory_value_dim, attractor_memory_positions];
        assert!(numbers.iter().all(|number| number(none) == 0));
        let numbers = [attractor_retrieval_count, attractor_retrieval_patterns, attractor_retrieval_top_count];
        assert!(numbers.iter().all(|number| number(null()) == 0));
        let mut length = 7;
        assert!(attractor_retrieval_output(null(), &raw mut length).is_null());
        assert_eq!((length, message().as_str()), (0, "attractor_retrieval_output: retrieval is NULL"));
        assert!(attractor_retrieval_energy_trace(null(), 0, null_mut()).is_null());
        assert!(attractor_device_name(null()).is_null() && attractor_adapters_name(null(), 0).is_null());

        attractor_device_free(null_mut());
        attractor_adapters_free(null_mut());
        attractor_memory_free(null_mut());
        attractor_pending_free(null_mut());
        attractor_pending_hits_free(null_mut());
        attractor_retrieval_free(null_mut());
        attractor_device_free(device);
    }
}

/// What `attractor_last_error_message` gave stays as it is, through calls that succeed, until a call fails.
#[test]
fn a_message_stays_until_the_next_failure() {
    let memory = Owned::of_two(4);
    // SAFETY: handles and arrays are as they should be but where that is refused.
    unsafe {
        refused(attractor_memory_remove(memory.0, 77), ATTRACTOR_ERROR_UNKNOWN_ID, &["attractor_memory_remove", "77"]);
        let first = attractor_last_error_message();
        assert_eq!(attractor_last_error_message(), first);
        let before = CStr::from_ptr(first).to_owned();
        let mut output = [0.0f32; 2];
        succeeds(ask(memory.0, [1.0, 0.0].as_ptr(), 1, null(), output.as_mut_ptr(), 2, null_mut()));
        assert_eq!((attractor_last_error_message(), CStr::from_ptr(first)), (first, before.as_c_str()));
        // A message that is handed to the very call that fails.
        let opened = {
            let mut options = std::mem::MaybeUninit::<attractor_device_options>::uninit();
            let size = size_of::<attractor_device_options>();
            succeeds(attractor_device_options_init(options.as_mut_ptr(), size));
            let mut options = options.assume_init();
            options.name = first;
            attractor_device_open(&raw const options, &mut null_mut())
        };
        refused(opened, ATTRACTOR_ERROR_NO_ADAPTER, &["no pattern with id 77"]);
    }
}

#[test]
fn counts_lengths_and_alignment() {
    let memory = Owned::of_two(4);
    let keys = circle(4);
    let (key, mut place, mut id) = (keys.as_ptr(), [0.0f32; 4], 77);
    let out = place.as_mut_ptr();
    // SAFETY: what is refused is refused for its numbers, before a pointer is followed; the rest is as it should be.
    unsafe {
        for count in [usize::MAX, usize::MAX / 2, usize::MAX / 2 + 1, isize::MAX as usize / 4] {
            let limit = |code| refused(code, ATTRACTOR_ERROR_LIMIT, &["elements of one array"]);
            limit(add(memory.0, key, null(), null(), count, null_mut()));
            limit(begin(memory.0, key, count, null(), &mut null_mut()));
        }
        let into = |length| ask(memory.0, key, 1, null(), out, length, null_mut());
        for length in [0, 1, 3, usize::MAX] {
            refused(into(length), ATTRACTOR_ERROR_SHAPE, &["output of 2 elements"]);
        }
        succeeds(into(2));

        let odd = key.byte_add(1);
        refused(
            add(memory.0, odd, null(), null(), 1, null_mut()),
            ATTRACTOR_ERROR_ALIGNMENT,
            &["keys is not aligned to 4 bytes"],
        );
        assert_eq!(attractor_memory_len(memory.0), 4);

        // Nothing is nothing, wherever it is.
        succeeds(add(memory.0, null(), null(), null(), 0, &raw mut id));
        assert_eq!(id, 77);
        let none = given(|none| ask(memory.0, null(), 0, null(), null_mut(), 0, none));
        let mut length = 7;
        assert!(!attractor_retrieval_output(none, &raw mut length).is_null());
        assert_eq!((length, attractor_retrieval_count(none), attractor_retrieval_patterns(none)), (0, 0, 4));
        attractor_retrieval_free(none);

        let get = |key_length, value: *mut f32, value_length| {
            attractor_memory_get(memory.0, 1, out, key_length, value, value_length, null_mut())
        };
        refused(get(3, null_mut(), 0), ATTRACTOR_ERROR_SHAPE, &["key of 2 elements"]);
        refused(get(2, out, 2), ATTRACTOR_ERROR_SHAPE, &["value of 0 elements"]);
        refused(attractor_memory_id_at(memory.0, 4, &raw mut id), ATTRACTOR_ERROR_PARAMETER, &["position", "4"]);

        // Arrays of another length than their shape, such as rows of another width: nothing of them is read.
        let dangling = std::ptr::without_provenance::<f32>(4 << 10);
        let mut nothing = null_mut();
        for length in [0, 1, 3, 4, 6, usize::MAX] {
            let shape = |code, what: &str| refused(code, ATTRACTOR_ERROR_SHAPE, &[what, &length.to_string()]);
            let query = attractor_memory_retrieve(memory.0, dangling, length, 1, null(), out, 2, null_mut());
            shape(query, "attractor_memory_retrieve: expected queries of 1 x 2 = 2 elements");
            let begun = attractor_memory_retrieve_begin(memory.0, dangling, length, 1, null(), &raw mut nothing);
            shape(begun, "queries of 1 x 2 = 2 elements");
            let added = attractor_memory_add(memory.0, dangling, length, null(), 0, null(), 0, 1, null_mut());
            shape(added, "keys of 1 x 2 = 2 elements");
            let updated = attractor_memory_update(memory.0, 0, dangling, length, null(), 0, null(), 0);
            shape(updated, "keys of 1 x 2 = 2 elements");
        }
        let added = attractor_memory_add(memory.0, key, 2, null(), 2, null(), 0, 1, null_mut());
        refused(added, ATTRACTOR_ERROR_SHAPE, &["keys alone"]);
        let added = attractor_memory_add(memory.0, key, 2, null(), 0, dangling, 2, 1, null_mut());
        refused(added, ATTRACTOR_ERROR_SHAPE, &["bias of 1 x 1"]);
        let none = attractor_memory_add(memory.0, key, 2, null(), 0, null(), 0, 0, null_mut());
        refused(none, ATTRACTOR_ERROR_SHAPE, &["keys of 0 x 2"]);
        assert_eq!(attractor_memory_len(memory.0), 4);

        // Wider than the address space whatever the machine has.
        let wide = Owned::new(&memory_options(1 << 16));
        succeeds(add(wide.0, vec![1.0; 1 << 16].as_ptr(), null(), null(), 1, null_mut()));
        refused(
            attractor_memory_reserve(wide.0, usize::MAX),
            ATTRACTOR_ERROR_LIMIT,
            &["attractor_memory_reserve", "windows"],
        );
        let most = isize::MAX as usize >> 20;
        refused(attractor_memory_reserve(wide.0, most), ATTRACTOR_ERROR_OUT_OF_MEMORY, &["host memory"]);
        assert_eq!(attractor_memory_len(wide.0), 1);
    }
}

#[test]
fn numbers_that_are_not_finite_and_options_that_are_not_options() {
    let memory = Owned::of_two(4);
    let mut output = [0.0f32; 2];
    // SAFETY: arrays have their lengths.
    unsafe {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let pair = [0.0, bad];
            let code = add(memory.0, pair.as_ptr(), null(), null(), 1, null_mut());
            refused(code, ATTRACTOR_ERROR_NOT_FINITE, &["keys row 0, column 1", &bad.to_string()]);
            let out = output.as_mut_ptr();
            let code = ask(memory.0, pair.as_ptr(), 1, null(), out, 2, null_mut());
            refused(code, ATTRACTOR_ERROR_NOT_FINITE, &["queries row 0, column 1"]);
            let code = update(memory.0, 0, pair.as_ptr(), null(), null());
            refused(code, ATTRACTOR_ERROR_NOT_FINITE, &["keys row 0, column 1"]);
        }

        let query = [1.0f32, 0.0];
        let mut asked = |change: &dyn Fn(&mut attractor_retrieve_options)| {
            let mut options = retrieve_options();
            change(&mut options);
            ask(memory.0, query.as_ptr(), 1, &raw const options, output.as_mut_ptr(), 2, null_mut())
        };
        let parameter = |code, word: &str| refused(code, ATTRACTOR_ERROR_PARAMETER, &[word]);
        let flags = [1u8; 5];
        parameter(asked(&|options| options.size = 3), "size");
        parameter(asked(&|options| options.size = usize::MAX), "size");
        parameter(asked(&|options| options.steps = 0), "steps");
        parameter(asked(&|options| options.top = 2000), "top");
        parameter(asked(&|options| (options.converge, options.tolerance) = (1, f32::NAN)), "tolerance");
        parameter(asked(&|options| options.mask_layout = 5), "mask_layout");
        parameter(asked(&|options| options.mask = flags.as_ptr()), "mask_layout");
        let mask = |options: &mut attractor_retrieve_options, length| {
            (options.mask, options.mask_length) = (flags.as_ptr(), length);
            options.mask_layout = attractor_mask::ATTRACTOR_MASK_KEEP as u32;
        };
        refused(asked(&|options| mask(options, 5)), ATTRACTOR_ERROR_SHAPE, &["mask of 4 flags", "5"]);
        let huge = asked(&|options| mask(options, usize::MAX));
        refused(huge, ATTRACTOR_ERROR_LIMIT, &["elements of one array"]);
        let null_mask = asked(&|options| {
            mask(options, 4);
            options.mask = null();
        });
        refused(null_mask, ATTRACTOR_ERROR_NULL_POINTER, &["mask"]);
        let clamp = asked(&|options| (options.clamp, options.clamp_length) = (flags.as_ptr(), 5));
        refused(clamp, ATTRACTOR_ERROR_SHAPE, &["clamp of 1 x 2"]);
        refused(asked(&|options| options.clamp_length = 2), ATTRACTOR_ERROR_NULL_POINTER, &["clamp"]);
        let numbers = [f32::NAN; 5];
        let field = asked(&|options| (options.field, options.field_length) = (numbers.as_ptr(), 5));
        refused(field, ATTRACTOR_ERROR_SHAPE, &["field of 1 x 2"]);
        let field = asked(&|options| (options.field, options.field_length) = (numbers.as_ptr(), 2));
        refused(field, ATTRACTOR_ERROR_NOT_FINITE, &["field row 0, column 0"]);
        let betas = asked(&|options| (options.betas, options.betas_length) = (numbers.as_ptr(), 2));
        refused(betas, ATTRACTOR_ERROR_SHAPE, &["1 betas"]);
        let ids = [77u64; 2];
        let exclude = asked(&|options| (options.exclude, options.exclude_length) = (ids.as_ptr(), 2));
        refused(exclude, ATTRACTOR_ERROR_SHAPE, &["1 patterns to leave out"]);
        let positions = [3usize, 1, 0, 0];
        let rows = asked(&|options| (options.rows, options.rows_length) = (positions.as_ptr(), 3));
        refused(rows, ATTRACTOR_ERROR_SHAPE, &["2 positions for each query"]);
        let rows = asked(&|options| (options.rows, options.rows_length) = (positions.as_ptr(), 4));
        refused(rows, ATTRACTOR_ERROR_SHAPE, &["1 ranges"]);
        parameter(asked(&|options| (options.rows, options.rows_length) = (positions.as_ptr(), 2)), "rows");
        refused(asked(&|options| options.rows_length = 2), ATTRACTOR_ERROR_NULL_POINTER, &["rows"]);
        succeeds(asked(&|options| mask(options, 4)));

        let device = given(|device| attractor_device_cpu(device));
        let create = |change: &dyn Fn(&mut attractor_memory_options)| {
            let mut options = memory_options(2);
            change(&mut options);
            let mut memory = null_mut();
            let code = attractor_memory_create(device, &raw const options, &raw mut memory);
            assert!(memory.is_null());
            code
        };
        parameter(create(&|options| options.dim = 0), "dim");
        parameter(create(&|options| options.similarity = 4), "similarity");
        parameter(create(&|options| options.separation = u32::MAX), "separation");
        parameter(create(&|options| options.precision = 4), "precision");
        parameter(create(&|options| options.beta = f32::NAN), "beta");
        let topk = attractor_separation::ATTRACTOR_SEPARATION_TOPK as u32;
        parameter(create(&|options| (options.separation, options.k) = (topk, 0)), "k");
        let power = attractor_separation::ATTRACTOR_SEPARATION_POWER as u32;
        parameter(create(&|options| (options.separation, options.n) = (power, 64)), "n");
        let step = attractor_separation::ATTRACTOR_SEPARATION_STEP as u32;
        let threshold = create(&|options| (options.separation, options.step_threshold) = (step, f32::NAN));
        parameter(threshold, "threshold");
        parameter(create(&|options| options.activation = 9), "activation");
        parameter(create(&|options| options.damping = 1.0), "damping");
        parameter(create(&|options| options.blocks = 0), "blocks");
        parameter(create(&|options| options.temperature = 1.0), "temperature");
        parameter(create(&|options| (options.separation, options.remove_self) = (power, 1)), "remove_self");
        let blocks = attractor_activation::ATTRACTOR_ACTIVATION_ARGMAX_BLOCKS as u32;
        let width = create(&|options| (options.activation, options.block_width) = (blocks, 3));
        refused(width, ATTRACTOR_ERROR_SHAPE, &["multiple of 3"]);
        refused(create(&|options| options.next_values = 1), ATTRACTOR_ERROR_SHAPE, &["without values"]);
        refused(create(&|options| options.dim = usize::MAX), ATTRACTOR_ERROR_LIMIT, &["dimensions of one row"]);
        refused(create(&|options| options.window_bytes = 1), ATTRACTOR_ERROR_LIMIT, &["window"]);
        attractor_device_free(device);
    }
}

#[test]
fn devices_that_are_not_there() {
    let open = |change: &dyn Fn(&mut attractor_device_options)| {
        let mut options = std::mem::MaybeUninit::<attractor_device_options>::uninit();
        let mut device = null_mut();
        // SAFETY: there is room, and what succeeds has filled it.
        unsafe {
            let size = size_of::<attractor_device_options>();
            succeeds(attractor_device_options_init(options.as_mut_ptr(), size));
            let mut options = options.assume_init();
            change(&mut options);
            let code = attractor_device_open(&raw const options, &raw mut device);
            assert!(device.is_null());
            code
        }
    };
    let not_utf8 = [0xff_u8 as c_char, 0];
    refused(open(&|options| options.name = c"no such thing".as_ptr()), ATTRACTOR_ERROR_NO_ADAPTER, &["no such thing"]);
    refused(open(&|options| options.index = 999), ATTRACTOR_ERROR_NO_ADAPTER, &["index 999"]);
    refused(open(&|options| options.index = -2), ATTRACTOR_ERROR_PARAMETER, &["index", "-2"]);
    refused(open(&|options| (options.index, options.name) = (0, c"x".as_ptr())), ATTRACTOR_ERROR_PARAMETER, &["index"]);
    refused(open(&|options| options.backend = 9), ATTRACTOR_ERROR_PARAMETER, &["backend"]);
    refused(open(&|options| options.software = 3), ATTRACTOR_ERROR_PARAMETER, &["software"]);
    refused(open(&|options| options.name = not_utf8.as_ptr()), ATTRACTOR_ERROR_UTF8, &["name"]);

    let mut count = 0;
    // SAFETY: a list that was just given.
    unsafe {
        let list = given(|list| attractor_adapters_list(list, &raw mut count));
        assert!((0..count).all(|index| !attractor_adapters_name(list, index).is_null()));
        assert!(attractor_adapters_kind(list, count).is_null() && message().contains("within the list"));
        attractor_adapters_free(list);
    }
}
