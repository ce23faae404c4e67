// A reader without a disk: its reads finish when, and in the order, a seed says, and fail where a
// test says. The destination of a read holds NaNs until the read was reaped, so that whoever looks
// too early gives itself away.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/random.h"
#include "io/async_reader.h"

namespace hearth::testing {

// Held by the test, which may change it between two reads.
struct ReadWeather {
  Random random{1};
  std::uint32_t longest_delay = 0;  // in calls of reap()
  // The error of a read, 0 for none. Reads are numbered from 0 in the order of submission.
  std::function<int(std::uint64_t number, const io::ReadRequest&)> fault;
  std::uint64_t reads = 0;  // submitted so far

  void expect_calm() { fault = nullptr, reads = 0; }
};

class FakeReader final : public io::AsyncReader {
 public:
  static constexpr std::uint64_t kAlignment = 512;

  FakeReader(const std::vector<std::string>& paths, std::shared_ptr<ReadWeather> weather)
      : weather_(std::move(weather)) {
    alignment_ = kAlignment;
    for (const std::string& path : paths) {
      std::ifstream in(path, std::ios::binary);
      files_.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
      CHECK(!files_.back().empty());
    }
  }

  void register_memory(std::span<const std::span<std::byte>>) override {}

  void submit(std::span<const io::ReadRequest> requests) override {
    for (const io::ReadRequest& request : requests) {
      check(request);
      std::memset(request.destination.data(), 0xff, request.destination.size());
      const int error = weather_->fault ? weather_->fault(weather_->reads, request) : 0;
      weather_->reads += 1;
      pending_.push_back(
          {request, error, now_ + weather_->random.below(weather_->longest_delay + 1)});
    }
    CHECK_LE(pending_.size(), io::ReaderOptions{}.max_queued);
  }

  std::size_t reap(std::span<io::ReadCompletion> out, Wait wait) override {
    now_ += 1;
    const auto earlier = [](const Pending& a, const Pending& b) { return a.due < b.due; };
    if (wait == Wait::kOne && !pending_.empty())
      now_ = std::max(now_, std::min_element(pending_.begin(), pending_.end(), earlier)->due);
    std::size_t count = 0;
    while (count < out.size()) {
      const auto due = std::partition(pending_.begin(), pending_.end(),
                                      [&](const Pending& each) { return each.due <= now_; });
      if (due == pending_.begin()) break;
      const auto chosen =
          pending_.begin() + static_cast<std::ptrdiff_t>(weather_->random.below(
                                 static_cast<std::uint64_t>(due - pending_.begin())));
      out[count++] = finish(*chosen);
      pending_.erase(chosen);
    }
    return count;
  }

  std::size_t outstanding() const override { return pending_.size(); }
  void end_reads() noexcept override { pending_.clear(); }
  std::string description() const override { return "a reader without a disk"; }

 private:
  struct Pending {
    io::ReadRequest request;
    int error = 0;
    std::uint64_t due = 0;
  };

  // What a real reader demands of a request; and no two reads may go to the same memory at a time.
  void check(const io::ReadRequest& request) const {
    CHECK_LT(request.file, files_.size());
    CHECK_EQ(request.offset % kAlignment, 0u);
    CHECK_EQ(reinterpret_cast<std::uintptr_t>(request.destination.data()) % kAlignment, 0u);
    CHECK_EQ(request.destination.size() % kAlignment, 0u);
    CHECK_LE(request.needed, request.destination.size());
    const std::byte* const begin = request.destination.data();
    for (const Pending& other : pending_) {
      const std::byte* const taken = other.request.destination.data();
      CHECK(begin + request.destination.size() <= taken ||
            taken + other.request.destination.size() <= begin);
    }
  }

  io::ReadCompletion finish(const Pending& read) {
    if (read.error != 0) return {read.request.tag, read.error};
    const std::string& file = files_[read.request.file];
    CHECK_LE(read.request.offset + read.request.needed, file.size());
    const std::size_t length =
        std::min<std::size_t>(read.request.destination.size(), file.size() - read.request.offset);
    std::memcpy(read.request.destination.data(), file.data() + read.request.offset, length);
    bytes_read_ += Bytes(length);
    return {read.request.tag, 0};
  }

  std::shared_ptr<ReadWeather> weather_;
  std::vector<std::string> files_;
  std::vector<Pending> pending_;
  std::uint64_t now_ = 0;
};

// As EngineOptions::open_reader.
inline auto readers_in(std::shared_ptr<ReadWeather> weather) {
  return [weather = std::move(weather)](const std::vector<std::string>& paths,
                                        const io::ReaderOptions&) {
    return std::make_unique<FakeReader>(paths, weather);
  };
}

}  // namespace hearth::testing
