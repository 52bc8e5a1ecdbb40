//! Enums that are tables: a number or a text for each variant, written once.

/// An enum whose numbers cross a boundary.
#[macro_export]
macro_rules! numbered {
    ($(#[$attr:meta])* pub enum $name:ident: $repr:ident {
        $($(#[$doc:meta])* $variant:ident = $number:literal,)*
    }) => {
        $(#[$attr])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr($repr)]
        pub enum $name { $($(#[$doc])* $variant = $number,)* }

        impl $name {
            /// All of them, in order of their numbers.
            pub const ALL: [Self; [$($number),*].len()] = [$(Self::$variant),*];

            /// The one with this number.
            pub const fn from_raw(raw: $repr) -> Option<Self> {
                // Spelt out, it costs a comparison; `ALL` would cost a look into a table.
                match raw { $($number => Some(Self::$variant),)* _ => None }
            }

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)* }
            }
        }
    };
}

/// An enum of what may go wrong.
#[macro_export]
macro_rules! reasons {
    ($(#[$attr:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident: $text:literal,)* }) => {
        $(#[$attr])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// One line for people.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}
