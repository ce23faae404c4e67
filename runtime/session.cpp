#include "runtime/session.h"

#include <algorithm>

#include "base/check.h"
#include "base/error.h"
#include "runtime/gpu/device_runner.h"
#include "runtime/host_runner.h"
#include "runtime/kv_state.h"

namespace hearth::runtime {

namespace {

std::unique_ptr<StepRunner> runner_for(Engine& engine) {
  if (engine.device_model() != nullptr) return std::make_unique<DeviceRunner>(engine);
  return std::make_unique<HostRunner>(engine);
}

}  // namespace

Session::Session(Engine& engine)
    : engine_(engine),
      recurrent_(RecurrentState::bytes_needed(engine.model().recurrent_layers()) > Bytes(0)),
      runner_(runner_for(engine)) {}

void Session::check(std::span<const TokenId> tokens) const {
  if (torn_)
    throw_error(ErrorCode::kBadInput,
                "a step at position {} failed, and what the recurrent layers remember is torn; "
                "reset the session, or start again",
                position_);
  check_room(tokens.size());
  const std::uint32_t vocabulary = engine_.config().vocabulary;
  for (const TokenId token : tokens)
    if (token < 0 || static_cast<std::uint32_t>(token) >= vocabulary)
      throw_error(ErrorCode::kBadInput, "token {} is outside the vocabulary of {} tokens", token,
                  vocabulary);
}

void Session::check_room(std::size_t positions) const {
  if (positions <= context() - position_) return;
  throw_error(ErrorCode::kBadInput,
              "{} tokens do not fit the context: {} of {} positions are taken; raise --ctx-size or "
              "shorten the prompt",
              positions, position_, context());
}

void Session::evaluate(std::span<const TokenId> tokens, std::size_t first_logits, LogitsSink sink) {
  check(tokens);
  const auto on_routed = [this](const profiler::Routing& routing) {
    for (const auto& listener : listeners_) listener(routing);
  };
  for (std::size_t begin = 0; begin < tokens.size();) {
    const std::size_t count = runner_->rows_of_chunk(tokens.size() - begin);
    const std::size_t wanted = first_logits > begin ? first_logits - begin : 0;
    torn_ = recurrent_;
    reached_ = std::max(reached_, position_ + static_cast<std::uint32_t>(count));
    runner_->run({.tokens = tokens.subspan(begin, count),
                  .position = position_,
                  .first_logits_row = static_cast<std::uint32_t>(std::min(wanted, count)),
                  .on_routed = on_routed,
                  .forced_routing = forced_routing_},
                 [&](std::uint32_t row, std::span<const float> logits) {
                   sink(static_cast<std::uint32_t>(begin + row), logits);
                 });
    torn_ = false;
    position_ += static_cast<std::uint32_t>(count);
    steps_ += 1;
    begin += count;
  }
}

std::span<const float> Session::evaluate(std::span<const TokenId> tokens) {
  std::span<const float> last;
  evaluate(tokens, tokens.size() - 1,
           [&](std::uint32_t, std::span<const float> logits) { last = logits; });
  return last;
}

void Session::reset() {
  position_ = reached_ = resumed_ = 0;
  torn_ = false;
  runner_->reset();
}

Bytes Session::state_bytes(std::uint32_t position) const {
  CHECK_LE(position, context());
  return runner_->state_bytes(position);
}

void Session::save_state(std::uint32_t position,
                         FunctionRef<void(std::span<const std::byte>)> write) const {
  CHECK_LE(position, context());
  runner_->save_state(position, write);
}

void Session::load_state(std::uint32_t position, FunctionRef<void(std::span<std::byte>)> read) {
  CHECK_LE(position, context());
  runner_->load_state(position, read);
}

void Session::resume(std::uint32_t position) {
  CHECK_LE(position, context());
  position_ = reached_ = resumed_ = position;
  torn_ = false;
}

void Session::rewind(std::uint32_t position) {
  CHECK(can_rewind(position));
  if (position == 0) return reset();
  position_ = position;
}

bool Session::can_rewind(std::uint32_t position) const {
  CHECK_LE(position, position_);
  if (position == 0) return true;
  if (torn_) return false;
  if (position == position_) return true;
  if (recurrent_ || !engine_.kv_formats().quantized()) return !recurrent_;
  return reached_ - position <= most_rewind() && resumed_with_what_is_read_at(position);
}

bool Session::resumed_with_what_is_read_at(std::uint32_t position) const {
  if (position >= resumed_) return true;
  const KvFormats& formats = engine_.kv_formats();
  const auto same = [&](kernels::KvFormat format) {
    const kernels::KvFormatTraits& traits = kernels::traits(format);
    return !traits.quantized() || encoded_before(traits, formats.tail, position - 1) ==
                                      encoded_before(traits, formats.tail, resumed_ - 1);
  };
  return same(formats.keys) && same(formats.values);
}

void Session::fill_at_random(std::uint32_t positions, std::uint64_t seed) {
  reset();
  check_room(positions);
  runner_->fill_at_random(positions, seed);
  position_ = reached_ = resumed_ = positions;
}

}  // namespace hearth::runtime
