//! Values, options and reports: what a caller passes arrives, and what the library finds comes back.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};

use super::calls::*;
use crate::attractor_error::*;
use crate::*;

/// Values, bias, precision, ids, masks, clamps, reports and files: what was passed is what comes back.
#[test]
fn everything_comes_through() {
    let mut options = memory_options(2);
    (options.value_dim, options.bias, options.beta) = (3, 1, 4.0);
    let memory = Owned::new(&options);
    let keys = circle(4);
    let values: Vec<f32> = (0..12).map(|i| i as f32).collect();
    let bias = [0.0f32, 0.25, 0.5, 0.75];
    let dir = tempfile::tempdir().unwrap();
    let path = CString::new(dir.path().join("memory.safetensors").to_str().unwrap()).unwrap();
    // SAFETY: arrays have their lengths, and handles were just given.
    unsafe {
        assert_eq!((attractor_memory_dim(memory.0), attractor_memory_value_dim(memory.0)), (2, 3));
        let mut first = u64::MAX;
        let mut added = |values: *const f32| add(memory.0, keys.as_ptr(), values, bias.as_ptr(), 4, &raw mut first);
        refused(added(null()), ATTRACTOR_ERROR_SHAPE, &["values of 3"]);
        succeeds(added(values.as_ptr()));
        assert_eq!(first, 0);

        let (mut key, mut value, mut its_bias) = ([0.0f32; 2], [0.0f32; 3], 0.0);
        let out = (key.as_mut_ptr(), value.as_mut_ptr(), &raw mut its_bias);
        succeeds(attractor_memory_get(memory.0, 2, out.0, 2, out.1, 3, out.2));
        assert_eq!((key, value, its_bias), ([keys[4], keys[5]], [6.0, 7.0, 8.0], 0.5));
        succeeds(update(memory.0, 2, keys.as_ptr(), values.as_ptr(), null()));
        succeeds(attractor_memory_get(memory.0, 2, null_mut(), 0, value.as_mut_ptr(), 3, &raw mut its_bias));
        assert_eq!((value, its_bias), ([0.0, 1.0, 2.0], 0.0));
        succeeds(attractor_memory_remove(memory.0, 0));
        refused(attractor_memory_remove(memory.0, 0), ATTRACTOR_ERROR_UNKNOWN_ID, &["id 0"]);
        assert_eq!((attractor_memory_len(memory.0), attractor_memory_positions(memory.0)), (3, 4));
        let mut id = 0;
        succeeds(attractor_memory_id_at(memory.0, 3, &raw mut id));
        assert_eq!(id, 3);

        let keep = [1u8, 0, 0, 200, 1, 1, 1, 1, 0, 0, 0, 0];
        let known = [0u8, 7, 0, 0, 0, 0];
        let mut retrieve = retrieve_options();
        (retrieve.mask, retrieve.mask_length) = (keep.as_ptr(), keep.len());
        retrieve.mask_layout = attractor_mask::ATTRACTOR_MASK_KEEP_PER_QUERY as u32;
        (retrieve.clamp, retrieve.clamp_length) = (known.as_ptr(), known.len());
        (retrieve.converge, retrieve.steps, retrieve.top, retrieve.statistics, retrieve.weights) = (1, 9, 2, 1, 1);
        retrieve.energy_trace = 1;
        let queries = [0.5f32, 0.25, 0.0, 1.0, 1.0, 1.0];
        let retrieval =
            given(|retrieval| ask(memory.0, queries.as_ptr(), 3, &raw const retrieve, null_mut(), 0, retrieval));
        let mut length = 0;
        let output = attractor_retrieval_output(retrieval, &raw mut length);
        let output = std::slice::from_raw_parts(output, length);
        assert_eq!(&output[..3], [9.0, 10.0, 11.0], "query 0 may use pattern 3 alone");
        assert_eq!(&output[6..], [0.0; 3], "query 2 may use none");
        let state = std::slice::from_raw_parts(attractor_retrieval_state(retrieval, &raw mut length), 6);
        assert_eq!((length, state[1]), (6, 0.25), "it is known");
        let status = std::slice::from_raw_parts(attractor_retrieval_status(retrieval, null_mut()), 3);
        assert_eq!(status[0], attractor_status::ATTRACTOR_STATUS_ANSWERED);
        assert_eq!(status[2], attractor_status::ATTRACTOR_STATUS_NOTHING_LEFT);
        let top = std::slice::from_raw_parts(attractor_retrieval_top_ids(retrieval, null_mut()), 6);
        assert_eq!(&top[..2], [3, ATTRACTOR_NO_PATTERN]);
        let similarity = std::slice::from_raw_parts(attractor_retrieval_top_similarity(retrieval, &raw mut length), 6);
        assert_eq!((length, similarity[1]), (6, 0.0));
        for (position, expected) in [(0, ATTRACTOR_NO_PATTERN), (3, 3)] {
            succeeds(attractor_retrieval_id_at(retrieval, position, &raw mut id));
            assert_eq!(id, expected);
        }
        let beyond = attractor_retrieval_id_at(retrieval, 4, &raw mut id);
        refused(beyond, ATTRACTOR_ERROR_PARAMETER, &["attractor_retrieval_id_at", "4 of 4"]);
        let statistics = std::slice::from_raw_parts(attractor_retrieval_statistics(retrieval, null_mut()), 3);
        assert_eq!((statistics[0].support, statistics[0].largest), (1, 1.0));
        assert_eq!(statistics[0].kind, attractor_fixed_point::ATTRACTOR_FIXED_POINT_SINGLE);
        let weights = std::slice::from_raw_parts(attractor_retrieval_weights(retrieval, &raw mut length), 12);
        assert_eq!((length, &weights[..4]), (12, &[0.0, 0.0, 0.0, 1.0][..]));
        let steps = *attractor_retrieval_steps(retrieval, null_mut());
        assert!(!attractor_retrieval_energy_trace(retrieval, 0, &raw mut length).is_null());
        assert_eq!(length, steps as usize + 1);
        assert!(attractor_retrieval_energy_trace(retrieval, 3, &raw mut length).is_null());
        assert!(attractor_retrieval_energy(retrieval, &raw mut length).is_null());
        assert!(length == 0 && message().contains("not asked for"), "{}", message());
        attractor_retrieval_free(retrieval);

        let saved = attractor_memory_save(memory.0, path.as_ptr());
        let device = given(|device| attractor_device_cpu(device));
        if cfg!(feature = "files") {
            succeeds(saved);
            let mut options = MaybeUninit::<attractor_load_options>::uninit();
            succeeds(attractor_load_options_init(options.as_mut_ptr(), size_of::<attractor_load_options>()));
            let mut options = options.assume_init();
            options.rows_in_file = 1;
            let kept = given(|kept| attractor_memory_load(device, path.as_ptr(), &raw const options, kept));
            let again = given(|again| attractor_memory_load(device, path.as_ptr(), null(), again));
            assert_eq!((attractor_memory_len(again), attractor_memory_value_dim(again)), (3, 3));
            let (mut one, mut other) = ([0.0f32; 3], [0.0f32; 3]);
            let query = queries.as_ptr();
            succeeds(ask(memory.0, query, 1, null(), one.as_mut_ptr(), 3, null_mut()));
            succeeds(ask(again, query, 1, null(), other.as_mut_ptr(), 3, null_mut()));
            assert_eq!(one, other);
            succeeds(ask(kept, query, 1, null(), other.as_mut_ptr(), 3, null_mut()));
            assert_eq!(one, other);
            refused(attractor_memory_reserve(kept, 1), ATTRACTOR_ERROR_UNSUPPORTED, &["rows_in_file"]);
            attractor_memory_free(kept);
            options.reserved = 1;
            let mut none = null_mut();
            let unknown = attractor_memory_load(device, path.as_ptr(), &raw const options, &raw mut none);
            refused(unknown, ATTRACTOR_ERROR_UNSUPPORTED, &["reserved"]);
            attractor_memory_free(again);
        } else {
            refused(saved, ATTRACTOR_ERROR_UNSUPPORTED, &["files"]);
        }
        let mut none = null_mut();
        let missing = attractor_memory_load(device, c"/no/such/file".as_ptr(), null(), &raw mut none);
        let code = if cfg!(feature = "files") { ATTRACTOR_ERROR_FILE } else { ATTRACTOR_ERROR_UNSUPPORTED };
        refused(missing, code, &[]);
        attractor_device_free(device);

        succeeds(attractor_memory_clear(memory.0));
        let code = ask(memory.0, queries.as_ptr(), 1, null(), value.as_mut_ptr(), 3, null_mut());
        refused(code, ATTRACTOR_ERROR_EMPTY, &["empty"]);
    }
}

/// Thresholds of what is reported, which older headers do not know.
#[test]
fn thresholds_come_through() {
    let memory = Owned::new(&memory_options(2));
    let (keys, query) = ([1.0f32, 0.0, 0.9, 0.1, 0.0, 1.0], [1.0f32, 0.0]);
    // SAFETY: arrays have their lengths, and handles were just given.
    unsafe {
        succeeds(add(memory.0, keys.as_ptr(), null(), null(), 3, null_mut()));
        let mut asked = retrieve_options();
        asked.top = 3;
        let found = |asked: &attractor_retrieve_options| {
            let retrieval = given(|all| ask(memory.0, query.as_ptr(), 1, &raw const *asked, null_mut(), 0, all));
            let mut length = 7;
            let found = attractor_retrieval_top_found(retrieval, &raw mut length);
            let ids = std::slice::from_raw_parts(attractor_retrieval_top_ids(retrieval, null_mut()), 3);
            let found = (length > 0).then(|| *found);
            let listed = ids.iter().filter(|id| **id != ATTRACTOR_NO_PATTERN).count();
            attractor_retrieval_free(retrieval);
            (listed, found)
        };
        assert_eq!(found(&asked), (3, None));
        (asked.threshold, asked.has_threshold) = (0.5, 1);
        assert_eq!(found(&asked), (2, Some(2)));
        asked.size = std::mem::offset_of!(attractor_retrieve_options, threshold);
        assert_eq!(found(&asked), (3, None), "an older header has no thresholds");
        asked.size = size_of::<attractor_retrieve_options>();
        (asked.has_threshold, asked.least_weight) = (0, 1.0);
        assert_eq!(found(&asked), (0, Some(0)));
        let mut none = null_mut();
        asked.least_weight = f32::NAN;
        let refusal = ask(memory.0, query.as_ptr(), 1, &raw const asked, null_mut(), 0, &raw mut none);
        refused(refusal, ATTRACTOR_ERROR_PARAMETER, &["weight_at_least"]);
        (asked.least_weight, asked.top) = (0.5, 0);
        let refusal = ask(memory.0, query.as_ptr(), 1, &raw const asked, null_mut(), 0, &raw mut none);
        refused(refusal, ATTRACTOR_ERROR_PARAMETER, &["weight_at_least", "without top"]);
        assert!(none.is_null());
    }
}

/// Rules and options that older headers do not know: those of the library, where they are not set.
#[test]
fn rules_of_other_networks_come_through() {
    use attractor_separation::*;
    let keys = [1.0f32, 1.0, -1.0, 1.0];
    let queries = [1.0f32, -1.0, 1.0, 1.0];
    let asked = retrieve_options();
    // SAFETY: arrays have their lengths, and handles were just given.
    let state = |options: &attractor_memory_options, asked: &attractor_retrieve_options| unsafe {
        let memory = Owned::new(options);
        succeeds(add(memory.0, keys.as_ptr(), null(), null(), 2, null_mut()));
        let retrieval = given(|all| ask(memory.0, queries.as_ptr(), 2, &raw const *asked, null_mut(), 0, all));
        let state = std::slice::from_raw_parts(attractor_retrieval_state(retrieval, null_mut()), 4).to_vec();
        attractor_retrieval_free(retrieval);
        state
    };
    let mut options = memory_options(2);
    options.beta = 1.0;
    // Scores of the first query are 0 and -2, of the second 2 and 0.
    options.separation = ATTRACTOR_SEPARATION_LINEAR as u32;
    assert_eq!(state(&options, &asked), [2.0, -2.0, 2.0, 2.0]);
    (options.separation, options.n) = (ATTRACTOR_SEPARATION_POWER as u32, 2);
    assert_eq!(state(&options, &asked), [-4.0, 4.0, 4.0, 4.0]);
    options.separation = ATTRACTOR_SEPARATION_RECTIFIED as u32;
    assert_eq!(state(&options, &asked), [0.0, 0.0, 4.0, 4.0]);
    (options.separation, options.step_threshold) = (ATTRACTOR_SEPARATION_STEP as u32, 0.0);
    (options.gain, options.carry) = (10.0, 1.0);
    assert_eq!(state(&options, &asked), [11.0, 9.0, 1.0, 21.0]);
    (options.separation, options.size) = (0, std::mem::offset_of!(attractor_memory_options, n));
    let old = state(&options, &asked);
    let new = memory_options(2);
    assert_eq!(old, state(&attractor_memory_options { beta: 1.0, ..new }, &asked), "an older header has no updates");

    let mut options = memory_options(2);
    (options.separation, options.beta) = (ATTRACTOR_SEPARATION_LINEAR as u32, 1.0);
    let mut asked = retrieve_options();
    let (field, betas, ids) = ([0.5f32, 0.0, 0.0, 0.0], [1.0f32, 3.0], [ATTRACTOR_NO_PATTERN, 1]);
    let rows = [1usize, 2, 0, 2];
    (asked.field, asked.field_length) = (field.as_ptr(), 4);
    (asked.betas, asked.betas_length) = (betas.as_ptr(), 2);
    (asked.exclude, asked.exclude_length) = (ids.as_ptr(), 2);
    (asked.rows, asked.rows_length) = (rows.as_ptr(), 4);
    assert_eq!(state(&options, &asked), [2.5, -2.0, 6.0, 6.0]);
    asked.size = std::mem::offset_of!(attractor_retrieve_options, field);
    assert_eq!(state(&options, &asked), [2.0, -2.0, 2.0, 2.0], "an older header has none of them");
}

/// What a search finds, with and without a threshold, and what it refuses.
#[test]
fn searches_come_through() {
    let mut options = memory_options(2);
    options.similarity = attractor_similarity::ATTRACTOR_SIMILARITY_EUCLIDEAN as u32;
    let memory = Owned::new(&options);
    let keys = [0.0f32, 0.0, 1.0, 0.0, 3.0, 0.0];
    let queries = [0.0f32, 0.0, 2.5, 0.0];
    // SAFETY: arrays have their lengths, and handles were just given.
    unsafe {
        succeeds(add(memory.0, keys.as_ptr(), null(), null(), 3, null_mut()));
        let search = |options: *const attractor_search_options, hits| {
            attractor_memory_search(memory.0, queries.as_ptr(), queries.len(), 2, options, hits)
        };
        let hits = given(|hits| search(null(), hits));
        assert_eq!((attractor_hits_count(hits), attractor_hits_places(hits)), (2, 3));
        let mut length = 0;
        let ids = std::slice::from_raw_parts(attractor_hits_ids(hits, &raw mut length), 6);
        assert_eq!((ids, length), (&[0, 1, 2, 2, 1, 0][..], 6));
        let distances = std::slice::from_raw_parts(attractor_hits_similarity(hits, null_mut()), 6);
        assert_eq!(distances, [0.0, 1.0, 9.0, 0.25, 2.25, 6.25]);
        assert!(attractor_hits_found(hits, &raw mut length).is_null());
        assert!(length == 0 && message().contains("without a threshold"), "{}", message());
        attractor_hits_free(hits);

        let mut asked = MaybeUninit::<attractor_search_options>::uninit();
        succeeds(attractor_search_options_init(asked.as_mut_ptr(), size_of::<attractor_search_options>()));
        let mut asked = asked.assume_init();
        let keep = [1u8, 1, 1, 0, 0, 0];
        (asked.top, asked.threshold, asked.has_threshold) = (1, 1.0, 1);
        (asked.mask, asked.mask_length) = (keep.as_ptr(), keep.len());
        asked.mask_layout = attractor_mask::ATTRACTOR_MASK_KEEP_PER_QUERY as u32;
        let hits = given(|hits| search(&raw const asked, hits));
        let ids = std::slice::from_raw_parts(attractor_hits_ids(hits, null_mut()), 2);
        let found = std::slice::from_raw_parts(attractor_hits_found(hits, null_mut()), 2);
        assert_eq!((ids, found), (&[0, ATTRACTOR_NO_PATTERN][..], &[2, 0][..]));
        let status = std::slice::from_raw_parts(attractor_hits_status(hits, null_mut()), 2);
        assert_eq!(status[1], attractor_status::ATTRACTOR_STATUS_NOTHING_LEFT);
        attractor_hits_free(hits);

        let mut none = null_mut();
        asked.threshold = f64::NAN;
        refused(search(&raw const asked, &raw mut none), ATTRACTOR_ERROR_PARAMETER, &["at_most", "finite"]);
        asked.has_threshold = 0;
        asked.top = 0;
        refused(search(&raw const asked, &raw mut none), ATTRACTOR_ERROR_PARAMETER, &["top"]);
        let code = attractor_memory_search(memory.0, queries.as_ptr(), 3, 2, null(), &raw mut none);
        refused(code, ATTRACTOR_ERROR_SHAPE, &["queries"]);
        refused(search(null(), null_mut()), ATTRACTOR_ERROR_NULL_POINTER, &["hits"]);
        assert!(none.is_null());
    }
}
