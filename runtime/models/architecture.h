// An architecture: one file that turns metadata and tensor names into blocks, and one line in
// registry.cpp.
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

void build_ernie4_5_moe(const MetadataReader& metadata, Model& model);
void build_gemma4(const MetadataReader& metadata, Model& model);
void build_glm4moe(const MetadataReader& metadata, Model& model);
void build_gpt_oss(const MetadataReader& metadata, Model& model);
void build_llama(const MetadataReader& metadata, Model& model);
void build_llama4(const MetadataReader& metadata, Model& model);
void build_minimax_m2(const MetadataReader& metadata, Model& model);
void build_olmoe(const MetadataReader& metadata, Model& model);
void build_qwen2moe(const MetadataReader& metadata, Model& model);
void build_qwen3moe(const MetadataReader& metadata, Model& model);

}  // namespace hearth::runtime
