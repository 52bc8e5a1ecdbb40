//! How messages are declared: once, and a compiler that counts the bytes, compares the kinds, and sees that whoever takes
//! messages takes all of them.

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

/// Declares the messages of a protocol, by who takes them:
///
/// ```text
/// /// What the driver takes.
/// trait Driver as ToDriver {
///     /// A piece of output.
///     fn output(Output) = 0x0400 {
///         /// Bytes used of `text`.
///         len: u8,
///         /// The piece.
///         text: [u8; 30],
///     }
/// }
/// ```
///
/// From that come
/// - the body `Output`: its fields are public, what they leave of the 32 bytes is `unused`. They must leave no gaps (the
///   compiler says so), so put the wide ones first. One is made with `Output { len: 1, ..Output::default() }`; the default
///   is all zeros;
/// - the trait `Driver<Cx>`: a method for each message, and `dispatch`, which calls the right one. So whoever takes
///   messages has an answer to each of them, or does not compile. `Cx` is whatever the methods need beside the body;
/// - the trait `ToDriver`, which these bodies have and no others: what a function may send to a driver;
/// - names and numbers, for logs and for the check of all protocols against each other; and samples, for the
///   [conformance vectors](crate::formats::conformance).
macro_rules! interface {
    ($(
        $(#[$taker_doc:meta])*
        trait $taker:ident as $to:ident {$(
            $(#[$doc:meta])*
            fn $method:ident($name:ident) = $kind:literal {
                $($(#[$field_doc:meta])* $field:ident: $ty:ty,)*
            }
        )*}
    )*) => {
        $(
            $(#[$taker_doc])*
            pub trait $taker<Cx> {
                /// What comes of a message.
                type Outcome;

                $($(#[$doc])* fn $method(&mut self, body: &$name, cx: Cx) -> Self::Outcome;)*

                /// Gives a message to its method; `Err`, with the context back, if it is for somebody else.
                fn dispatch(&mut self, message: &$crate::Message, cx: Cx) -> Result<Self::Outcome, Cx> {
                    match message.kind {
                        $($kind => match message.body::<$name>() {
                            Some(body) => Ok(self.$method(&body, cx)),
                            None => Err(cx),
                        },)*
                        _ => Err(cx),
                    }
                }
            }

            #[doc = concat!("The bodies that [`", stringify!($taker), "`] takes.")]
            pub trait $to: $crate::wire::Body {}

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

                impl $to for $name {}

                const _: () = assert!(size_of::<$name>() == $crate::wire::BODY_BYTES);
            )*
        )*

        /// The kinds declared here.
        pub const KINDS: &[$crate::formats::Kind] = &[$($(
            $crate::formats::Kind { number: $kind, name: stringify!($name) },
        )*)*];

        pub(super) const MAKERS: &[$crate::formats::conformance::Maker] = &[$($(
            |header, source| {
                let body = $name {
                    $($field: $crate::formats::conformance::Sample::sample(source),)*
                    ..$name::default()
                };
                ($crate::wire::encode(header, &body), source.body())
            },
        )*)*];
    };
}
