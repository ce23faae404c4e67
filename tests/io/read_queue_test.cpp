#include "io/read_queue.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cerrno>
#include <map>

#include "tests/io/support/reader_testing.h"

namespace hearth::io {
namespace {

constexpr std::uint64_t kAlignment = 512;

Piece piece_of(std::span<std::byte> memory, std::uint32_t needed) {
  Piece piece;
  piece.data = memory.data();
  piece.length = static_cast<std::uint32_t>(memory.size());
  piece.needed = needed;
  return piece;
}

TEST(PieceTest, TheWindowMayReachPastTheEndOfTheFile) {
  std::vector<std::byte> memory(1024);
  Piece piece = piece_of(memory, 600);
  EXPECT_TRUE(piece.advance(700, kAlignment));
  EXPECT_EQ(piece.error, 0);
}

TEST(PieceTest, AnAlignedShortReadContinuesWithDirectReads) {
  std::vector<std::byte> memory(2048);
  Piece piece = piece_of(memory, 2000);
  EXPECT_FALSE(piece.advance(512, kAlignment));
  EXPECT_FALSE(piece.buffered);
  EXPECT_EQ(piece.next_offset(), 512u);
  EXPECT_EQ(piece.next_destination().size(), 1536u);
}

TEST(PieceTest, AnUnalignedShortReadContinuesThroughThePageCacheToWhatIsNeeded) {
  std::vector<std::byte> memory(2048);
  Piece piece = piece_of(memory, 2000);
  EXPECT_FALSE(piece.advance(513, kAlignment));
  EXPECT_TRUE(piece.buffered);
  EXPECT_EQ(piece.next_destination().size(), 2000u - 513u);
  EXPECT_TRUE(piece.advance(2000 - 513, kAlignment));
}

TEST(PieceTest, ProgressResetsTheCountOfBarrenAttempts) {
  std::vector<std::byte> memory(1024);
  Piece piece = piece_of(memory, 1024);
  for (int i = 0; i < Piece::kMaxRepeats; ++i) EXPECT_FALSE(piece.advance(-EINTR, kAlignment));
  EXPECT_FALSE(piece.advance(512, kAlignment));
  for (int i = 0; i < Piece::kMaxRepeats; ++i) EXPECT_FALSE(piece.advance(-EAGAIN, kAlignment));
  EXPECT_TRUE(piece.advance(-EAGAIN, kAlignment));
  EXPECT_EQ(piece.error, EAGAIN);
}

TEST(PieceTest, WhatTheEndOfAThreadCutsOffMayPassAndAWrongAddressDoesNot) {
  std::vector<std::byte> memory(1024);
  for (const int code : {ECANCELED, EFAULT}) {
    Piece piece = piece_of(memory, 1024);
    EXPECT_FALSE(piece.advance(-code, kAlignment));
    EXPECT_TRUE(piece.advance(1024, kAlignment));
    EXPECT_EQ(piece.error, 0);

    Piece never = piece_of(memory, 1024);
    for (int i = 0; i < Piece::kMaxRepeats; ++i) EXPECT_FALSE(never.advance(-code, kAlignment));
    EXPECT_TRUE(never.advance(-code, kAlignment));
    EXPECT_EQ(never.error, code);
  }
}

TEST(PieceTest, MoreBytesThanWereAskedForIsABug) {
  std::vector<std::byte> memory(512);
  Piece piece = piece_of(memory, 512);
  EXPECT_DEATH(piece.advance(513, kAlignment), "next_destination");
}

// Drives a queue with random requests, orders and failures, against a model that knows which
// requests must finish, and with what.
void random_walk() {
  const auto limits = ReadQueue::Limits{.requests = *rc::gen::inRange(1u, 9u),
                                        .pieces = *rc::gen::inRange(1u, 6u),
                                        .piece_bytes = 1024,
                                        .alignment = kAlignment};
  ReadQueue queue(limits);
  static const GuardedBuffer buffer(1 << 16);
  struct Expected {
    std::uint64_t needed = 0;
    std::uint64_t cut = 0;
    bool failed = false;
  };
  std::map<std::uint64_t, Expected> expected;  // by tag
  std::vector<Piece*> under_way;
  std::uint64_t next_tag = 0;
  std::size_t completed = 0;

  const auto pop = [&] {
    std::vector<ReadCompletion> out(2);
    const std::size_t count = queue.pop(out);
    for (std::size_t i = 0; i < count; ++i, ++completed) {
      const auto request = expected.find(out[i].tag);
      RC_ASSERT(request != expected.end());
      RC_ASSERT(out[i].error == (request->second.failed ? EIO : 0));
      if (!request->second.failed) RC_ASSERT(request->second.cut >= request->second.needed);
      expected.erase(request);
    }
  };
  const auto finish_one = [&](bool fail) {
    const std::size_t chosen = *rc::gen::inRange<std::size_t>(0, under_way.size());
    Piece* const piece = under_way[chosen];
    under_way.erase(under_way.begin() + static_cast<std::ptrdiff_t>(chosen));
    const auto tag = static_cast<std::uint64_t>(piece->offset >> 32);
    Expected& request = expected.at(tag);
    request.failed |= fail;
    RC_ASSERT(piece->advance(fail ? -EIO : static_cast<std::int32_t>(piece->length), kAlignment));
    queue.finish(piece);
  };
  const auto start = [&] {
    while (Piece* const piece = queue.next()) {
      Expected& request = expected.at(static_cast<std::uint64_t>(piece->offset >> 32));
      RC_ASSERT((piece->offset & 0xffffffff) == request.cut);  // pieces follow one another
      RC_ASSERT(piece->needed <= piece->length && piece->length <= 1024u);
      RC_ASSERT(!request.failed);
      request.cut += piece->length;
      under_way.push_back(piece);
    }
    RC_ASSERT(queue.pieces_under_way() == under_way.size());
    RC_ASSERT(under_way.size() <= limits.pieces);
  };

  for (int step = 0; step < 60; ++step) {
    switch (*rc::gen::inRange(0, 4)) {
      case 0:
        if (queue.outstanding() < limits.requests) {
          const std::uint64_t needed = *rc::gen::inRange<std::uint64_t>(0, 5000);
          queue.push({.file = 0,
                      .offset = next_tag << 32,  // the offset names the request
                      .destination = buffer.bytes().first(round_up(needed, kAlignment)),
                      .needed = needed,
                      .tag = next_tag});
          expected[next_tag++].needed = needed;
        }
        break;
      case 1:
        start();
        break;
      case 2:
        if (!under_way.empty()) finish_one(*rc::gen::inRange(0, 5) == 0);
        break;
      default:
        pop();
    }
    RC_ASSERT(queue.outstanding() == expected.size());
  }
  while (queue.outstanding() > 0) {
    start();
    if (!under_way.empty()) finish_one(false);
    pop();
  }
  RC_ASSERT(completed == next_tag);
}

TEST(ReadQueueTest, EveryRequestFinishesOnceWithItsOwnOutcome) {
  EXPECT_TRUE(rc::check("random walk", random_walk));
}

TEST(ReadQueueTest, MoreRequestsThanTheLimitAreABug) {
  ReadQueue queue({.requests = 2, .pieces = 1, .piece_bytes = 512, .alignment = 1});
  queue.push({});
  queue.push({});  // finished, but not yet popped
  EXPECT_DEATH(queue.push({}), "free_requests_");
}

TEST(ReadQueueTest, AMisalignedRequestIsABug) {
  const GuardedBuffer buffer(8192);
  const std::span<std::byte> bytes = buffer.bytes();
  ReadQueue queue({.requests = 2, .pieces = 1, .piece_bytes = 512, .alignment = kAlignment});
  const auto request = [](std::uint64_t offset, std::span<std::byte> destination) {
    return ReadRequest{
        .file = 0, .offset = offset, .destination = destination, .needed = 9, .tag = 0};
  };
  EXPECT_DEATH(queue.push(request(100, bytes.first(512))), "read.offset");
  EXPECT_DEATH(queue.push(request(0, bytes.subspan(8, 512))), "destination.data");
  EXPECT_DEATH(queue.push(request(0, bytes.first(100))), "destination.size");
  EXPECT_DEATH(queue.push(request(0, {})), "needed");
}

TEST(ReadQueueTest, DroppedRequestsLeaveOnlyWhatIsUnderWay) {
  const GuardedBuffer buffer(1 << 16);
  ReadQueue queue({.requests = 4, .pieces = 2, .piece_bytes = 512, .alignment = 1});
  for (std::uint64_t tag = 0; tag < 4; ++tag)
    queue.push({.file = 0, .offset = 0, .destination = buffer.bytes(), .needed = 5000, .tag = tag});
  Piece* const first = queue.next();
  Piece* const second = queue.next();
  queue.drop_waiting();
  EXPECT_EQ(queue.next(), nullptr);
  EXPECT_EQ(queue.outstanding(), 1u);  // the first request, cut short
  queue.finish(first);
  queue.finish(second);
  EXPECT_EQ(queue.pieces_under_way(), 0u);
}

}  // namespace
}  // namespace hearth::io
