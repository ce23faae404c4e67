// The experts of a step's rows and their weights, from the products of the rows with a router's
// matrix (ProductTask): bit for bit what runtime/blocks/router.h chooses.
//
// Whatever the logits are, the ids of a row are valid and distinct: a number that is NaN ranks with
// the lowest. That it was there is counted in `faults`, and its weights are NaN.
#pragma once

#include <cstdint>

#include "kernels/router_spec.h"

namespace hearth::kernels {

inline constexpr std::uint32_t kMostRoutedExperts = 1024;
inline constexpr std::uint32_t kMostExpertsUsed = 256;

// Decisions that take the place of a router's, of one layer: row r of the step gets the entry
// *first + r. A row has its own choice, and counts as a fault, where the entry is past the last or
// names an expert that there is not.
struct ForcedRoutes {
  const std::uint16_t* ids = nullptr;  // [entries][used]; null: nothing is forced
  const float* weights = nullptr;      // the same shape
  std::uint32_t entries = 0;
  const std::uint32_t* first = nullptr;  // in device memory; null: 0
};

// A ring in memory that the host maps, of the newest steps: row r, rank k of step s lies at
// (s % steps) × stride + r × used + k. To be read when the step is done.
struct RouteRecord {
  std::uint16_t* ids = nullptr;  // null: nothing is recorded
  float* weights = nullptr;      // or null
  std::uint64_t stride = 0;      // from one step to the next
  std::uint32_t steps = 0;
  const std::uint32_t* step = nullptr;  // s, in device memory
};

struct RouteTask {
  RouterSpec spec;  // at most kMostRoutedExperts, kMostExpertsUsed
  std::uint32_t rows = 0;
  const float* logits = nullptr;  // [rows][logit_stride]
  std::uint64_t logit_stride = 0;
  const float* bias = nullptr;            // [experts], of the logits; or null
  const float* selection_bias = nullptr;  // [experts], added for the choice alone; or null
  std::uint16_t* ids = nullptr;           // [rows][used], best first
  float* weights = nullptr;               // [rows][used]
  // Rows with a NaN among the numbers they choose by or among their weights, and rows whose forced
  // decision is none, are added here; or null.
  std::uint32_t* faults = nullptr;
  ForcedRoutes forced;
  RouteRecord record;
};

}  // namespace hearth::kernels
