// A whole model on a device that has a part of its experts: how many, what is fetched of
// the others, and where RAM has them from.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/gpu/device_prefill.h"
#include "tests/gpu/support/model_run.h"
#include "tests/gpu/support/one_device.h"
#include "tests/runtime/support/fake_reader.h"

namespace hearth::runtime {

// So many of the experts of each size class.
std::vector<std::uint32_t> share_of_slots(const Model& model, double of_all);

// Of what a layer misses; both: half of it, rounded up, over the link.
enum class Misses { kToTheCpu, kOverTheLink, kToBoth };
profiler::FetchLadder fetches(const Model& model, Misses misses);

// An engine with RAM for so many experts of each size. All are read in that weather.
std::unique_ptr<Engine> open(const Case& c, std::uint32_t ram_slots,
                             const std::shared_ptr<testing::ReadWeather>& weather);

// A device, a model on it and a session.
struct DeviceRun {
  explicit DeviceRun(Engine& engine, const DeviceModel::Options& options = {},
                     const kernels::emulated::DeviceOptions& of_device = {},
                     kernels::DeviceKind kind = kernels::DeviceKind::kAny);

  kernels::OneDevice device;
  DeviceModel model;
  DeviceDecoder decoder;  // with the golden context, and the batch of the model
};

// A chunk of a prompt.
void evaluate(DevicePrefill& prefill, std::span<const TokenId> tokens, std::uint32_t position,
              Outcome& outcome);
// Pieces of more than a step's rows as chunks, the others as steps.
Outcome run_in_chunks(const Case& c, DeviceDecoder& decoder, DevicePrefill& prefill);

}  // namespace hearth::runtime
