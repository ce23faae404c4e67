// An architecture: one file that turns metadata and tensor names into blocks, and one line in
// architectures.def.
#pragma once

#include <span>
#include <string_view>

#include "runtime/metadata_reader.h"
#include "runtime/model.h"

namespace hearth::runtime {

struct Architecture {
  std::string_view name;  // general.architecture
  void (*build)(const MetadataReader& metadata, Model& model);
};

std::span<const Architecture> architectures();

// Models with routed experts that cannot be run yet, and what of them is missing.
struct KnownArchitecture {
  std::string_view name;
  std::string_view missing;
};
std::span<const KnownArchitecture> architectures_without_support();

#define ARCHITECTURE(name, build) void build(const MetadataReader& metadata, Model& model);
#include "runtime/models/architectures.def"
#undef ARCHITECTURE

}  // namespace hearth::runtime
