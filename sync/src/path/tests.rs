//! The automaton of each construct, against sequences of begins and ends by hand.

use super::*;

/// Whether the steps are allowed, one after the other: `+a` begins a, `-a` ends it.
fn runs(text: &str, steps: &str) -> bool {
    let program = program::compile(text, None).unwrap();
    let mut word = program.initial();
    steps.split_whitespace().all(|step| {
        let operation = program.operation(text, &step[1..]).unwrap();
        let next = match &step[..1] {
            "+" => program.begin(operation, word),
            _ => Some(program.end(operation, word).unwrap()),
        };
        word = next.unwrap_or(word);
        next.is_some()
    })
}

fn error(text: &str) -> (PathErrorKind, usize) {
    let error = program::compile(text, None).unwrap_err();
    (error.kind(), error.position())
}

#[test]
fn sequence() {
    let text = "a ; b ; c";
    assert!(runs(text, "+a -a +b -b +c -c +a -a"));
    assert!(!runs(text, "+b") && !runs(text, "+a +b") && !runs(text, "+a -a +a"));
    assert!(!runs(text, "+a -a +b -b +a"));
}

#[test]
fn selection() {
    assert!(runs("a , b", "+a -a +b -b +b -b"));
    assert!(!runs("a , b", "+a +b") && !runs("a , b", "+a +a"));
    assert!(runs("a ; b , c", "+a -a +b -b +c -c") && !runs("a ; b , c", "+a -a +c"));
    assert!(runs("a ; (b , c)", "+a -a +c -c") && !runs("a ; (b , c)", "+c"));
}

#[test]
fn simultaneous_activation() {
    let text = "{read} , write";
    assert!(runs(
        text,
        "+read +read -read +read -read -read +write -write"
    ));
    assert!(!runs(text, "+read +write") && !runs(text, "+write +read"));
    assert!(!runs(text, "+write +write") && !runs(text, "+read +read -read +write"));
    assert!(runs("{a ; b} , c", "+a +a -a -a +b +b -b -b +c"));
    assert!(!runs("{a ; b} , c", "+a -a +c") && !runs("{a ; b} , c", "+a -a +b -b +b"));
    assert!(runs("a ; {{b} , c}", "+a -a +b +b +c -b -b -c +a"));
}

#[test]
fn bounds() {
    let text = "3:(put ; get)";
    assert!(runs(text, "+put +put +put -put +get -get +put"));
    assert!(!runs(text, "+put +put +put +put") && !runs(text, "+put -put +get -get +get"));
    let text = "3:(1:(put) ; 1:(get))";
    assert!(!runs(text, "+put +put") && runs(text, "+put -put +put -put +get +put"));
    assert!(!runs(text, "+put -put +put -put +get +get"));
}

#[test]
fn repetition() {
    let text = "open ; use* ; close";
    assert!(runs(text, "+open -open +close -close +open"));
    assert!(runs(text, "+open -open +use -use +use -use +close -close"));
    assert!(!runs(text, "+use") && !runs(text, "+open -open +use +close"));
    assert!(!runs(text, "+open -open +close -close +use"));
    assert!(runs("a* ; b", "+a -a +a -a +b -b +b -b") && !runs("a* ; b", "+a +b"));
    assert!(runs("a*", "+a -a +a -a"));
    let text = "open ; (a ; b)* ; close";
    assert!(runs(text, "+open -open +a -a +b -b +a -a +b -b +close"));
    assert!(!runs(text, "+open -open +a -a +close"));
    assert!(!runs(text, "+open -open +a -a +b -b +b"));
    let text = "2:(a* ; b)";
    assert!(runs(text, "+a +a -a -a +b +a -b -a") && !runs(text, "+a +b +a"));
}

/// After a repeated operation everything is as before it, so nothing else may begin there.
#[test]
fn a_repetition_has_no_rivals() {
    let refused = |text: &str| (text.to_owned(), error(text));
    for (text, position) in [
        ("a* ; b* ; c", 6),
        ("x ; a* ; b* ; c", 10),
        ("a* ; (b* ; c)", 7),
        ("(a* ; b)* ; c", 2),
        ("a* ; b , c", 1),
        ("c , x ; (a* ; b , d)", 10),
        ("c , (a* ; b)", 6),
        ("{a* ; b} , c", 2),
        ("x ; 2:{a* ; b}", 8),
    ] {
        let expected = (PathErrorKind::Repetition, position);
        assert_eq!(refused(text), (text.to_owned(), expected));
    }
    assert!(runs("a* ; b ; c* ; d", "+a -a +b -b +c -c +d -d +b"));
}

/// Round brackets around one thing mean nothing.
#[test]
fn brackets_around_one() {
    for text in [
        "3:(put ; get)",
        "(3:(put ; get))",
        "path ((3:(put ; get))) end",
        "((3:((put ; get))))*",
    ] {
        assert!(runs(text, "+put +put +put -put +get"), "{text}");
        assert!(!runs(text, "+put +put +put +put"), "{text}");
    }
    for text in [
        "(a ; b)*",
        "((a ; b)*)",
        "((a ; b))*",
        "path (((a ; b))*) end",
    ] {
        assert!(runs(text, "+a -a +b -b +a"), "{text}");
        assert!(!runs(text, "+a -a +a"), "{text}");
    }
    assert!(runs("a ; (b*) ; ((c))", "+a -a +b -b +b -b +c -c +a"));
}

#[test]
#[should_panic(expected = "path expression, byte 1234567: a bound must be from 1 to 65535")]
fn a_position_has_as_many_digits_as_it_needs() {
    PathError::new(PathErrorKind::Bound, 1_234_567).refuse();
}

#[test]
fn an_operation_is_of_its_text() {
    let [one, same] = [(); 2].map(|()| PathExpression::parse("a , b").unwrap());
    let other = PathExpression::parse("b , a").unwrap();
    let b = one.operation("b").unwrap();
    assert_eq!((one.perform(b, || 1), same.perform(b, || 2)), (1, 2));
    let foreign = std::panic::catch_unwind(|| other.perform(b, || 3)).unwrap_err();
    let message = foreign.downcast_ref::<&str>().unwrap();
    assert_eq!(*message, "the operation is of another path expression");
}

#[test]
fn an_operation_of_several_paths_keeps_to_all() {
    let text = "path a , b end path a , c end";
    assert!(runs(text, "+b +c -b -c +a -a"));
    assert!(!runs(text, "+a +b") && !runs(text, "+c +a") && !runs(text, "+a +c"));
}

#[test]
fn errors_have_positions() {
    use PathErrorKind::*;
    assert_eq!(error(""), (UnexpectedEnd, 0));
    assert_eq!(error("a ;"), (UnexpectedEnd, 3));
    assert_eq!(error("a , , b"), (Unexpected, 4));
    assert_eq!(error("a b"), (Unexpected, 2));
    assert_eq!(error("(a ; b"), (UnexpectedEnd, 6));
    assert_eq!(error("(a ; b}"), (Unexpected, 6));
    assert_eq!(error("path a , b"), (UnexpectedEnd, 10));
    assert_eq!(error("path a end b"), (Unexpected, 11));
    assert_eq!(error("a ; end"), (Unexpected, 4));
    assert_eq!(error("a ; {b , a}"), (Ambiguous, 9));
    assert_eq!(error("0:(a)"), (Bound, 0));
    assert_eq!(error("a ; 99999:(b)"), (Bound, 4));
    assert_eq!(error("3(a)"), (Unexpected, 1));
    assert_eq!(error("a ; b*"), (Repetition, 5));
    assert_eq!(error("a , é"), (Unexpected, 4));
    let many: Vec<_> = (0..17).map(|n| format!("op{n}")).collect();
    assert_eq!(error(&many.join(",")).0, TooLarge);
    let many: Vec<_> = (0..9).map(|n| format!("{{op{n}}}")).collect();
    assert_eq!(error(&many.join(" , ")).0, TooLarge);
    assert_eq!(error(&"(".repeat(100_000)), (TooLarge, 16));
    let unknown = program::compile("read , wrte", Some(&["read", "write"])).unwrap_err();
    assert_eq!((unknown.kind(), unknown.position()), (Unknown, 7));
}

/// What compiles to nothing of the sort must not panic either.
#[test]
fn no_text_makes_the_parser_panic() {
    let pieces = [
        "a", "b", ";", ",", "{", "}", "(", ")", "2:", "*", "path ", " end ", "0", "é",
    ];
    let mut state = 1_u64;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..state % 9 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            text += pieces[(state >> 33) as usize % pieces.len()];
        }
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let _ = program::compile(&text, None).map(|program| program.initial());
    }
}

#[test]
fn a_full_burst_waits() {
    // Six counters without a bound share what is left: ten bits each.
    let text = "{a} , {b} , {c} , {d} , {e} , {f}";
    let program = program::compile(text, None).unwrap();
    let a = program.operation(text, "a").unwrap();
    let (mut word, mut inside) = (program.initial(), 0);
    while let Some(next) = program.begin(a, word) {
        (word, inside) = (next, inside + 1);
    }
    assert_eq!(inside, 1023);
    word = program.end(a, word).unwrap();
    assert!(program.begin(a, word).is_some());
}

/// What is done in one go is what the steps would do, whatever the word.
#[test]
fn straight_codes_do_what_their_steps_do() {
    let (mut straight, mut refused) = (0, 0);
    for text in [
        "a",
        "2:(a ; b)",
        "{a} , b",
        "3:(1:(a) ; 1:(b))",
        "a* ; b",
        "{a ; b} ; 2:c",
    ] {
        let program = program::compile(text, None).unwrap();
        for code in program.codes() {
            straight += usize::from(code.is_straight());
            // The words go through all values of the counters' bits, and many of the rest.
            for word in (0..1_u64 << 12).map(|word| word | word << 51 | (word & 0xff) << 24) {
                let word = word & !QUEUED;
                let expected = code.is_straight().then(|| program.run_steps(code, word));
                refused += usize::from(expected == Some(None));
                assert!(
                    expected.is_none_or(|next| next == program.run(code, word)),
                    "{text}"
                );
            }
        }
    }
    assert!(straight > 10 && refused > 0, "{straight}, {refused}");
}
