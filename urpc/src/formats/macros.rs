//! How bodies are declared: one line for each, and a compiler that counts the bytes and compares the kinds.

/// Declares the files of `formats`, each with the high byte of its kinds, and checks all kinds against each other.
macro_rules! protocols {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        $($(#[$doc])* pub mod $name;)*

        /// Every protocol: its name and its kinds.
        pub const PROTOCOLS: &[(&str, &[$crate::formats::Kind])] =
            &[$((stringify!($name), $name::KINDS),)*];

        /// How to make a sample of each of their messages, in the same order.
        const SAMPLES: &[&[$crate::formats::conformance::Maker]] = &[$($name::MAKERS,)*];

        const _: () = {
            $(check_number($name::KINDS, $number);)*
            check_unique(PROTOCOLS);
        };
    };
}

/// Declares bodies: `/// doc` `Name = number { field: type, … }`. Fields are public; what they leave of the 32 bytes is
/// `unused`. They must leave no gaps (the compiler says so), so put the wide ones first. One is made with
/// `Name { field: value, …, ..Name::default() }`; the default is all zeros.
macro_rules! bodies {
    ($($(#[$doc:meta])* $name:ident = $kind:literal {
        $($(#[$field_doc:meta])* $field:ident: $ty:ty,)*
    })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, PartialEq, Eq, Debug)]
            #[derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)]
            #[repr(C)]
            pub struct $name {
                $($(#[$field_doc])* pub $field: $ty,)*
                #[doc(hidden)]
                pub unused: [u8; $crate::wire::BODY_BYTES - (0 $(+ size_of::<$ty>())*)],
            }

            impl Default for $name {
                fn default() -> Self {
                    zerocopy::FromZeros::new_zeroed()
                }
            }

            impl $crate::wire::Body for $name {
                const KIND: u16 = $kind;
            }

            const _: () = assert!(size_of::<$name>() == $crate::wire::BODY_BYTES);
        )*

        /// The kinds declared here.
        pub const KINDS: &[$crate::formats::Kind] = &[$(
            $crate::formats::Kind { number: $kind, name: stringify!($name) },
        )*];

        pub(super) const MAKERS: &[$crate::formats::conformance::Maker] = &[$(
            |header, source| {
                let body = $name {
                    $($field: $crate::formats::conformance::Sample::sample(source),)*
                    ..$name::default()
                };
                ($crate::wire::encode(header, &body), source.body())
            },
        )*];
    };
}
