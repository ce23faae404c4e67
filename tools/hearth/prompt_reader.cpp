#include "tools/hearth/prompt_reader.h"

#include <algorithm>

namespace hearth::tools {
namespace {

constexpr Nanoseconds kShort = std::chrono::milliseconds(500);  // needs no word of progress

}  // namespace

PromptReader::PromptReader(runtime::Engine& engine, runtime::Session& session)
    : engine_(engine), session_(session) {
  session.on_routed([this](const profiler::Routing& routing) { on_routed(routing); });
}

std::span<const float> PromptReader::read(std::span<const TokenId> tokens,
                                          const std::function<bool()>& stopped) {
  session_.check(tokens);
  struct Reading {
    PromptReader& reader;
    ~Reading() {
      reader.stopped_ = nullptr;
      reader.progress_.reset();
    }
  } const reading{*this};
  stopped_ = &stopped;
  begin_ = engine_.clock().now();
  start_ = session_.position();
  total_ = tokens.size();
  done_ = shown_ = 0;
  try {
    return evaluate(tokens);
  } catch (const Stopped&) {
    return {};
  }
}

std::span<const float> PromptReader::evaluate(std::span<const TokenId> tokens) {
  const std::size_t batch = engine_.plan().batch;
  std::span<const float> last;
  while (done_ < total_) {
    const auto chunk = tokens.subspan(done_, std::min<std::size_t>(batch, total_ - done_));
    const bool ends = done_ + chunk.size() == total_;
    session_.evaluate(chunk, ends ? chunk.size() - 1 : chunk.size(),
                      [&](std::uint32_t, std::span<const float> logits) { last = logits; });
    done_ += chunk.size();
    show(done_);
    if (!ends && (*stopped_)()) throw Stopped();
  }
  return last;
}

// The next step overwrites what a chunk left behind that was given up, but for what recurrent
// layers remember.
void PromptReader::on_routed(const profiler::Routing& routing) {
  if (stopped_ == nullptr) return;
  show(routing.position - start_ +
       std::uint64_t{routing.rows} * routing.layer / engine_.config().layers);
  if (routing.rows > 1 && session_.most_rewind() > 0 && (*stopped_)()) throw Stopped();
}

void PromptReader::show(std::uint64_t done) {
  if (!progress_) {
    if (engine_.clock().now() - begin_ < kShort || !terminal_of(stderr).interactive) return;
    progress_.emplace(stderr, "reading", total_, done);
    shown_ = done;
  }
  if (done <= shown_) return;
  progress_->advance(done - shown_);
  shown_ = done;
}

}  // namespace hearth::tools
