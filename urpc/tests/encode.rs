//! Property tests: what is encoded is decoded again, for any header and any body; what a peer makes up is decoded to
//! something or to nothing, but never to a panic.

use proptest::prelude::*;
use skerry_hal::{CoreId, Epoch};
use skerry_urpc::formats::{console, echo, monitor, pci, shell};
use skerry_urpc::wire::{BODY_BYTES, Body, HEADER_WORDS, Header, encode};
use skerry_urpc::{Block, Channel, Layout, Message, Transport};

fn header() -> impl Strategy<Value = Header> {
    any::<(u32, u32, u32, u8, u8, u16, u64)>().prop_map(|(src, dst, epoch, hops, flags, request, tag)| {
        Header {
            src: CoreId::from_raw(src),
            dst: CoreId::from_raw(dst),
            epoch: Epoch(epoch),
            hops,
            flags,
            request,
            tag,
        }
    })
}

/// Any 32 bytes are a body of type `B`; they come back as they were, under `B`'s kind and no other.
fn comes_back<B: Body>(header: &Header, bytes: &[u8; BODY_BYTES]) -> Result<(), TestCaseError> {
    let body = B::read_from_bytes(bytes).expect("every bit pattern is a body");
    let message = encode(header, &body);
    prop_assert_eq!(message.kind, B::KIND);
    prop_assert_eq!(message.header(), *header);
    let again = message.body::<B>().expect("the kind is its own");
    prop_assert_eq!(again.as_bytes(), bytes.as_slice());
    let other = Message { kind: !B::KIND, ..message };
    prop_assert!(other.body::<B>().is_none());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 512 }))]

    #[test]
    fn bodies_come_back(header in header(), bytes in any::<[u8; BODY_BYTES]>()) {
        comes_back::<echo::Echo>(&header, &bytes)?;
        comes_back::<monitor::Echo>(&header, &bytes)?;
        comes_back::<monitor::CoreAd>(&header, &bytes)?;
        comes_back::<shell::CoreLine>(&header, &bytes)?;
        comes_back::<console::Output>(&header, &bytes)?;
        comes_back::<pci::WindowFound>(&header, &bytes)?;
    }

    #[test]
    fn a_header_takes_its_three_words_and_no_other(message in any::<([u64; 7], u16)>(), header in header()) {
        let (words, kind) = message;
        let mut message = Message { words, kind, flags: 0 };
        message.set_header(&header);
        prop_assert_eq!(message.header(), header);
        prop_assert_eq!(&message.words[HEADER_WORDS..], &words[HEADER_WORDS..]);
    }

    #[test]
    fn messages_cross_a_channel_bit_for_bit(sent in proptest::collection::vec(any::<([u64; 7], u16, u16)>(), 1..40)) {
        let layout = Layout { slots: 8, stride: 64 };
        let memory = || {
            let words: Vec<_> = (0..layout.block_bytes() / 8).map(|_| skerry_urpc::ring::Word::new(0)).collect();
            Block::from_words(Vec::leak(words))
        };
        let (a, b) = (memory(), memory());
        let mut left = Channel::new(a, b, layout).expect("a sound layout");
        let mut right = Channel::new(b, a, layout).expect("a sound layout");
        for (words, kind, flags) in sent {
            let message = Message { words, kind, flags };
            prop_assert!(left.try_send(&message).is_ok());
            prop_assert_eq!(right.try_recv().expect("an honest peer"), Some(message));
            prop_assert_eq!(right.try_recv().expect("an honest peer"), None);
        }
    }
}
