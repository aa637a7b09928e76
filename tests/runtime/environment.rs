//! The builder's refusals, and the variables of the default runtime.

use std::io::ErrorKind;
use std::time::Duration;

use lisle::policy::PolicyKind;
use lisle::{Runtime, RuntimeBuilder, thread};

use crate::support::{child, end, in_child, on, runtime, stderr, stdout, watchdog};

#[test]
fn settings_that_make_no_sense_are_refused() {
    let refused = |builder: RuntimeBuilder| {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    };
    let builder = Runtime::builder;
    refused(builder().lwps(0));
    refused(builder().lwps(1025));
    refused(builder().policy(PolicyKind::Seeded(1)).lwps(2));
    refused(builder().stack_size(1 << 40));
    refused(builder().name_prefix("a\0b"));
}

#[test]
fn a_seeded_runtime_has_one_lwp() {
    let _dog = watchdog();
    let rt = Runtime::builder().policy(PolicyKind::Seeded(1));
    let rt = rt.build().unwrap();
    assert_eq!(rt.lwps(), 1);
    end(rt);
}

#[test]
fn kernel_threads_are_named_after_the_prefix() {
    let _dog = watchdog();
    let rt = Runtime::builder().lwps(2).name_prefix("gaston");
    let rt = rt.build().unwrap();
    let tids = || rt.lwp_list().into_iter().filter_map(|l| l.kernel_thread);
    crate::support::until(|| tids().count() == 2);
    let mut names: Vec<_> = tids()
        .map(|tid| std::fs::read_to_string(format!("/proc/self/task/{tid}/comm")).unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["gaston-0\n", "gaston-1\n"]);
    end(rt);
}

#[test]
fn cpu_time_is_accounted_if_asked_for() {
    let _dog = watchdog();
    let work = || {
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
    };
    // Time is charged when a thread leaves its LWP.
    let rt = Runtime::builder()
        .lwps(1)
        .account_cpu(true)
        .build()
        .unwrap();
    let worker = on(&rt, work);
    let thread = worker.thread().clone();
    worker.join().unwrap();
    crate::support::until(|| thread.info().cpu_time > Some(Duration::ZERO));
    end(rt);
    let rt = runtime(1);
    let worker = on(&rt, work);
    assert_eq!(worker.thread().info().cpu_time, None);
    worker.join().unwrap();
    end(rt);
}

/// Says what the default runtime is like.
fn describe() {
    match Runtime::default_runtime() {
        Err(error) => eprintln!("error: {error}"),
        Ok(rt) => {
            let deep = child(|| {
                let mark = |_: &[u8; 600 << 10]| thread::current().info().cpu_time.is_some();
                std::hint::black_box(mark)(&std::hint::black_box([0; 600 << 10]))
            });
            let accounted = deep.join().unwrap();
            println!("lwps {} cpu {accounted}", rt.lwps());
        }
    }
}

#[test]
fn the_environment_sets_the_default_runtime_up() {
    let _dog = watchdog();
    for policy in ["first-come", "priority", "round-robin"] {
        let variables = [
            ("LISLE_LWPS", " 3 "),
            ("LISLE_STACK_SIZE", "4M"),
            ("LISLE_POLICY", policy),
            ("LISLE_TIME_SLICE", "5"),
            ("LISLE_CPU_TIME", "1"),
        ];
        let test = "environment::the_environment_sets_the_default_runtime_up";
        let output = in_child(test, &variables, describe);
        assert!(output.status.success(), "{}", stderr(&output));
        let said = stdout(&output);
        assert!(said.contains("lwps 3 cpu true"), "{said}");
    }
}

#[test]
fn a_bad_variable_is_named() {
    let _dog = watchdog();
    let bad = [
        ("LISLE_LWPS", "many"),
        ("LISLE_LWPS", "0"),
        ("LISLE_LWPS", "-1"),
        ("LISLE_LWPS", ""),
        ("LISLE_LWPS", "1025"),
        ("LISLE_STACK_SIZE", "big"),
        ("LISLE_STACK_SIZE", "1G"),
        ("LISLE_STACK_SIZE", "65M"),
        ("LISLE_STACK_SIZE", "99999999999999999999M"),
        ("LISLE_POLICY", "fair"),
        ("LISLE_TIME_SLICE", "0"),
        ("LISLE_TIME_SLICE", "soon"),
        ("LISLE_CPU_TIME", "yes"),
    ];
    for (name, value) in bad {
        let test = "environment::a_bad_variable_is_named";
        let output = in_child(test, &[(name, value)], describe);
        let said = stderr(&output);
        assert!(said.starts_with("error: "), "{name}={value}: {said}");
        assert!(said.contains(name), "{name}={value}: {said}");
    }
}
