#include "runtime/experts/residence_toml.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "profiler/table_toml.h"
#include "runtime/experts/expert_listing.h"

namespace hearth::runtime {
namespace {

constexpr std::uint64_t kVersion = 1;

// Two lists side by side, in the order of use.
std::string tier_text(std::string_view key, const std::vector<ExpertId>& experts) {
  std::vector<unsigned> layers, indices;
  for (const ExpertId id : experts) {
    layers.push_back(id.layer);
    indices.push_back(id.index);
  }
  return fmt::format("\n[{}]\nlayers = [{}]\nexperts = [{}]\n", key, fmt::join(layers, ", "),
                     fmt::join(indices, ", "));
}

std::vector<ExpertId> read_tier(profiler::TableReader tier, const ExpertCatalog& catalog) {
  const std::vector<std::uint64_t> layers = tier.counts("layers", {0, catalog.layers() - 1});
  const std::vector<std::uint64_t> indices = tier.counts("experts", {0, UINT16_MAX});
  if (layers.size() != indices.size()) tier.fail("experts", "has another length than layers");
  std::vector<ExpertId> experts;
  std::vector<bool> seen(catalog.space().size());
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const ExpertId id{static_cast<LayerIndex>(layers[i]), static_cast<std::uint16_t>(indices[i])};
    if (!catalog.has(id)) tier.fail("experts", "names an expert that there is not");
    if (seen[catalog.space().flat(id)]) tier.fail("experts", "names an expert twice");
    seen[catalog.space().flat(id)] = true;
    experts.push_back(id);
  }
  tier.finish();
  return experts;
}

}  // namespace

std::string residence_text(const Residence& residence, const ExpertCatalog& catalog) {
  return fmt::format(
             "# Where experts were, those first that were used most.\n"
             "version = {}\nexperts = {}\nfingerprint = {}\n",
             kVersion, catalog.total(), profiler::hex_text(fingerprint(catalog))) +
         tier_text("ram", residence.ram) + tier_text("device", residence.device);
}

Residence parse_residence(std::string_view text, const ExpertCatalog& catalog,
                          const std::string& name) {
  const toml::table root = profiler::parse_toml(text, name);
  profiler::TableReader reader(root, name);
  reader.count("version", {kVersion, kVersion});
  const std::uint64_t experts = reader.count("experts", {1, UINT32_MAX});
  if (reader.hex("fingerprint") != fingerprint(catalog) || experts != catalog.total())
    throw_error(ErrorCode::kBadInput,
                "{}: the plan is of {} other experts than these {}; export one of this model",
                printable(name), experts, catalog.total());
  Residence residence{read_tier(reader.table("ram"), catalog),
                      read_tier(reader.table("device"), catalog)};
  reader.finish();
  return residence;
}

}  // namespace hearth::runtime
