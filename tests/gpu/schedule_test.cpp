// The emulated device whose operations are done some time later: what streams and events order is
// in order whatever the seed, and what they do not order is seen in either.
#include <gtest/gtest.h>

#include <list>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "kernels/gpu/emulation/block_runner.h"
#include "kernels/gpu/emulation/device.h"

namespace hearth::kernels::emulated {
namespace {

constexpr std::uint64_t kSeeds = 50;

DeviceOptions later(std::uint64_t seed) { return {.seed = seed, .streams = Streams::kScheduled}; }

// A device with two streams, on which letters are appended to a text.
class Letters {
 public:
  explicit Letters(const DeviceOptions& options) : device(options) {}

  void append(Stream& to, const char* letter) {
    to.call_host(
        [](void* context) {
          const auto& one = *static_cast<const Letter*>(context);
          *one.text += one.letter;
        },
        &*letters_.insert(letters_.end(), {&text, letter}));
  }

  EmulatedDevice device;
  std::unique_ptr<Stream> a = device.new_stream(StreamPriority::kNormal);
  std::unique_ptr<Stream> b = device.new_stream(StreamPriority::kHigh);
  std::unique_ptr<Event> event = device.new_event(EventTiming::kNone);
  std::unique_ptr<Event> joined = device.new_event(EventTiming::kNone);
  std::string text;

 private:
  struct Letter {
    std::string* text;
    const char* letter;
  };
  std::list<Letter> letters_;
};

TEST(ScheduledDevice, AStreamKeepsItsOrderAndNoOther) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    Letters device(later(seed));
    device.append(*device.a, "1");
    device.append(*device.a, "2");
    device.append(*device.b, "x");
    EXPECT_EQ(device.text, "");
    device.device.synchronize();
    seen.insert(device.text);
  }
  EXPECT_EQ(seen, (std::set<std::string>{"12x", "1x2", "x12"}));
}

TEST(ScheduledDevice, AnEventOrdersWhatComesBehindIt) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    Letters device(later(seed));
    device.append(*device.a, "1");
    device.a->record(*device.event);
    device.append(*device.a, "2");
    device.b->wait(*device.event);
    device.append(*device.b, "x");
    device.b->synchronize();
    EXPECT_TRUE(device.event->reached());
    device.a->synchronize();
    seen.insert(device.text);
  }
  EXPECT_EQ(seen, (std::set<std::string>{"12x", "1x2"}));
}

TEST(ScheduledDevice, AGraphHasTheOrderOfItsStreams) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    Letters device(later(seed));
    device.a->begin_capture();
    device.append(*device.a, "1");
    device.a->record(*device.event);
    device.b->wait(*device.event);
    device.append(*device.b, "x");
    device.b->record(*device.joined);
    device.append(*device.a, "2");
    device.a->wait(*device.joined);
    device.append(*device.a, "3");
    const auto graph = device.a->end_capture();
    EXPECT_EQ(graph->node_count(), 4u);
    device.append(*device.a, "<");
    device.a->launch(*graph);
    device.append(*device.a, "|");
    device.a->launch(*graph);
    device.append(*device.b, "b");  // no longer of the capture, in no order with it
    device.a->synchronize();
    device.b->synchronize();
    std::erase(device.text, 'b');
    seen.insert(device.text);
  }
  EXPECT_EQ(seen, (std::set<std::string>{"<12x3|12x3", "<1x23|12x3", "<12x3|1x23", "<1x23|1x23"}));
}

// A stream that joined a capture before joins the next one anew.
TEST(ScheduledDevice, AStreamJoinsOneCaptureAfterAnother) {
  Letters device(later(1));
  std::vector<std::unique_ptr<Graph>> graphs;
  for (const int letters : {3, 1}) {
    device.a->begin_capture();
    for (int i = 0; i < letters; ++i) device.append(*device.a, "a");
    device.a->record(*device.event);
    device.b->wait(*device.event);
    device.append(*device.b, "b");
    device.b->record(*device.joined);
    device.a->wait(*device.joined);
    device.append(*device.a, "c");
    graphs.push_back(device.a->end_capture());
  }
  for (const auto& graph : graphs) device.a->launch(*graph);
  device.device.synchronize();
  EXPECT_EQ(device.text, "aaabcabc");
}

TEST(ScheduledDevice, ACopyIsNotDoneAtOnce) {
  int torn = 0;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    Letters device(later(seed));
    const char from[] = "new";  // in two pieces, of one byte and of two
    char to[] = "old", seen[] = "...";
    device.a->copy(to, from, Bytes(3));
    device.b->copy(seen, to, Bytes(3));
    device.device.synchronize();
    const std::string found = seen;
    torn += found != "new" && found != "old" ? 1 : 0;
  }
  EXPECT_GT(torn, 0);
}

TEST(ScheduledDevice, AFlagIsWaitedForAndAHangIsSeen) {
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    Letters device(later(seed));
    auto memory = MappedMemory::try_allocate(device.device, Bytes(4));
    const SharedFlag flag{reinterpret_cast<std::uint32_t*>(memory->data())};
    device.a->wait_value(flag, 2);
    device.append(*device.a, "1");
    EXPECT_THROW(device.a->synchronize(), EmulationError);
    device.a->record(*device.event);
    EXPECT_FALSE(device.event->reached());
    device.append(*device.b, "x");
    device.b->write_value(flag, 3);
    device.event->wait();
    EXPECT_EQ(device.text, "x1");
  }
}

TEST(ScheduledDevice, WhatIsBesideItRunsBetweenOperations) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    std::string* text = nullptr;
    DeviceOptions options = later(seed);
    options.beside = [&] {
      if (text == nullptr || text->find('h') != std::string::npos) return false;
      *text += 'h';
      return true;
    };
    Letters device(options);
    text = &device.text;
    device.append(*device.a, "1");
    device.append(*device.a, "2");
    device.a->synchronize();
    seen.insert(device.text);
  }
  EXPECT_EQ(seen, (std::set<std::string>{"12", "1h2", "h12"}));
}

TEST(ScheduledDevice, IsLostWhereAnOperationIsDoneAndAnswersNothingThen) {
  DeviceOptions options = later(1);
  options.last_operation = 1;
  Letters device(options);
  device.append(*device.a, "1");
  device.append(*device.a, "2");
  EXPECT_THROW(device.a->synchronize(), Error);
  EXPECT_EQ(device.text, "1");
  EXPECT_THROW(device.append(*device.b, "x"), Error);
  EXPECT_THROW(device.device.synchronize(), Error);
}

TEST(ScheduledDeviceDeathTest, AStreamThatIsNotJoinedAgainEndsACapture) {
  Letters device(later(1));
  device.a->begin_capture();
  device.append(*device.a, "1");
  device.a->record(*device.event);
  device.b->wait(*device.event);
  device.append(*device.b, "x");
  EXPECT_DEATH(device.a->end_capture(), "all_lead_to");
}

}  // namespace
}  // namespace hearth::kernels::emulated
