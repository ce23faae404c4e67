#include "profiler/profile_toml.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/small_file.h"
#include "profiler/model_identity_toml.h"
#include "profiler/table_toml.h"

namespace hearth::profiler {
namespace {

constexpr std::string_view kFirstLine = "# Expert profile of Hearth, version ";
constexpr std::string_view kLastLine = "# Checksum of all the lines above: ";

constexpr std::string_view kExplanation =
    "# Of every layer with experts, by expert: the tokens that chose it, and `recent`, the same\n"
    "# with older tokens fading. reuse: how often an expert was used again after 1, 2-3, 4-7, ...\n"
    "# tokens. partners: the experts of the next layer that go with it most, 4 for each expert, "
    "and\n"
    "# how often. curve: hit rates when a share of all experts is held in memory.\n";

template <typename Values>
void write_array(std::string& text, std::string_view key, const Values& values) {
  fmt::format_to(std::back_inserter(text), "{} = [{}]\n", key, fmt::join(values, ", "));
}

void write_layer(std::string& text, const LayerProfile& layer, bool has_partners) {
  std::vector<std::uint64_t> counts, partners, partner_counts;
  std::vector<double> recent;
  for (const ExpertHistory& expert : layer.experts) {
    counts.push_back(expert.count);
    recent.push_back(expert.recent);
    for (const Partner& partner : expert.partners) {
      partners.push_back(partner.expert);
      partner_counts.push_back(partner.count);
    }
  }
  text += fmt::format("\n[[layer]]\nlayer = {}\n", layer.layer);
  write_array(text, "counts", counts);
  write_array(text, "recent", recent);
  write_array(text, "reuse", layer.reuse);
  if (!has_partners) return;
  write_array(text, "partners", partners);
  write_array(text, "partner_counts", partner_counts);
}

void write_curve(std::string& text, const PolicyCurve& curve) {
  std::vector<double> shares, hit_rates;
  for (const HitPoint& point : curve.points) {
    shares.push_back(point.share);
    hit_rates.push_back(point.hit_rate);
  }
  text += fmt::format("\n[[curve]]\npolicy = {}\n", quoted(curve.policy));
  write_array(text, "shares", shares);
  write_array(text, "hit_rates", hit_rates);
}

// Throws unless the text is exactly what was written, by this version.
void check_envelope(std::string_view text, const std::string& name) {
  if (!text.starts_with(kFirstLine))
    throw_error(ErrorCode::kBadFile,
                "{}: this is no expert profile; hearth profile record makes one", printable(name));
  const std::size_t last = text.find_last_of('\n', text.size() - 2);
  if (last == std::string_view::npos || !text.substr(last + 1).starts_with(kLastLine))
    throw_error(ErrorCode::kBadFile,
                "{}: the profile is cut off: its last line is not its checksum; record it again",
                printable(name));
  if (text.substr(last + 1) != checksum_line(text.substr(0, last + 1)))
    throw_error(ErrorCode::kBadFile,
                "{}: the profile is damaged or was edited: its checksum does not match; record it "
                "again",
                printable(name));

  const std::string_view number = text.substr(kFirstLine.size());
  int version = 0;
  const auto parsed = std::from_chars(number.data(), number.data() + number.size(), version);
  if (parsed.ec != std::errc() || *parsed.ptr != '\n' || version < 1)
    throw_error(ErrorCode::kBadFile, "{}: the profile has no version; record it again",
                printable(name));
  if (version > kProfileVersion)
    throw_error(ErrorCode::kUnsupported,
                "{}: the profile has version {}, this program reads versions up to {}; update it",
                printable(name), version, kProfileVersion);
}

Workload read_workload(TableReader table) {
  Workload workload;
  workload.label = table.string("label");
  workload.tokens = table.count("tokens", {0, kMostTokens});
  workload.generated = table.count("generated", {0, workload.tokens});
  table.finish();
  return workload;
}

std::vector<Workload> read_workloads(TableReader& root) {
  std::vector<Workload> workloads;
  std::set<std::string> labels;
  std::uint64_t tokens = 0;
  for (TableReader& table : root.tables("workload")) {
    workloads.push_back(read_workload(table));
    tokens += workloads.back().tokens;
    if (tokens > kMostTokens) table.fail("tokens", "are more than any profile has, all together");
    if (!labels.insert(workloads.back().label).second)
      table.fail("label", "is that of another workload too");
  }
  return workloads;
}

void read_partners(TableReader& table, LayerProfile& layer) {
  if (!table.has("partners")) return;
  const std::vector<std::uint64_t> experts = table.counts("partners", {0, 65535});
  const std::vector<std::uint64_t> counts = table.counts("partner_counts", {0, kMostTokens});
  const std::size_t expected = layer.experts.size() * kPartners;
  if (experts.size() != expected || counts.size() != expected)
    table.fail("partners", fmt::format("must be {} for each expert", kPartners));
  for (std::size_t i = 0; i < expected; ++i)
    layer.experts[i / kPartners].partners[i % kPartners] = {static_cast<std::uint16_t>(experts[i]),
                                                            counts[i]};
  for (const ExpertHistory& expert : layer.experts) {
    std::uint64_t most = expert.count;
    for (const Partner& partner : expert.partners) {
      if (partner.count > std::exchange(most, partner.count))
        table.fail("partner_counts", "must descend from the count of the expert");
      if (partner.count == 0 && partner.expert != 0)
        table.fail("partners", "that never were chosen have the number 0");
    }
  }
}

LayerProfile read_layer(TableReader table, const ModelIdentity& model, std::uint64_t tokens) {
  LayerProfile layer;
  layer.layer = static_cast<LayerIndex>(table.count("layer", {0, 65535}));
  if (layer.layer >= model.layers)
    table.fail("layer", fmt::format("must be below {}, the layers of the model", model.layers));
  const std::vector<std::uint64_t> counts = table.counts("counts", {0, tokens});
  if (counts.empty() || counts.size() > model.experts_per_layer)
    table.fail("counts", fmt::format("must be of 1 to {} experts", model.experts_per_layer));
  const std::vector<double> recent = table.reals("recent", {0, static_cast<double>(kMostTokens)});
  if (recent.size() != counts.size())
    table.fail("recent", fmt::format("must be of {} experts, as counts", counts.size()));
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (recent[i] > static_cast<double>(counts[i])) table.fail("recent", "must not exceed counts");
    layer.experts.push_back({counts[i], recent[i], {}});
  }
  const std::uint64_t uses = layer.uses();
  if (uses > tokens * model.experts_used)
    table.fail("counts", fmt::format("add up to {}, but {} tokens choose {} experts each", uses,
                                     tokens, model.experts_used));

  const std::vector<std::uint64_t> reuse = table.counts("reuse", {0, uses});
  if (reuse.size() != kReuseBuckets)
    table.fail("reuse", fmt::format("must have {} numbers", kReuseBuckets));
  std::uint64_t reused = 0;
  for (const std::uint64_t count : reuse) reused += count;
  if (reused > uses) table.fail("reuse", "adds up to more than counts");
  std::copy(reuse.begin(), reuse.end(), layer.reuse.begin());

  read_partners(table, layer);
  table.finish();
  return layer;
}

std::vector<LayerProfile> read_layers(TableReader& root, const ModelIdentity& model,
                                      std::uint64_t tokens) {
  std::vector<LayerProfile> layers;
  for (TableReader& table : root.tables("layer")) {
    layers.push_back(read_layer(table, model, tokens));
    if (layers.size() > 1 && layers.back().layer <= layers[layers.size() - 2].layer)
      table.fail("layer", "must be larger than that of the table before");
    if (layers.size() == 1) continue;
    for (const ExpertHistory& expert : layers[layers.size() - 2].experts)
      for (const Partner& partner : expert.partners)
        if (partner.expert >= layers.back().experts.size())
          table.fail("counts", "must be of all experts that the layer before has as partners");
  }
  if (layers.empty()) return layers;
  for (const ExpertHistory& expert : layers.back().experts)
    if (expert.partners != decltype(expert.partners){})
      root.fail("layer", "must not have partners in the last table");
  return layers;
}

PolicyCurve read_curve(TableReader table) {
  PolicyCurve curve;
  curve.policy = table.string("policy");
  const std::vector<double> shares = table.reals("shares", {0, 1});
  const std::vector<double> hit_rates = table.reals("hit_rates", {0, 1});
  table.finish();
  if (shares.size() != hit_rates.size())
    table.fail("hit_rates", fmt::format("must be {}, as shares", shares.size()));
  for (std::size_t i = 0; i < shares.size(); ++i) {
    if (shares[i] <= (i == 0 ? 0 : shares[i - 1]) || shares[i] >= 1)
      table.fail("shares", "must ascend between 0 and 1");
    curve.points.push_back({shares[i], hit_rates[i]});
  }
  return curve;
}

// Of a part of a split model, "x-00001-of-00003.gguf", where the number begins; else the size.
std::size_t begin_of_part_number(std::string_view stem) {
  constexpr std::string_view kNumber = "-00000-of-00000";
  if (stem.size() <= kNumber.size()) return stem.size();
  const std::size_t begin = stem.size() - kNumber.size();
  for (std::size_t i = 0; i < kNumber.size(); ++i) {
    const char c = stem[begin + i];
    if (kNumber[i] == '0' ? c < '0' || c > '9' : c != kNumber[i]) return stem.size();
  }
  return begin;
}

}  // namespace

std::string profile_path_of(const std::string& model_path) {
  constexpr std::string_view kExtension = ".gguf";
  std::string path = model_path;
  if (path.ends_with(kExtension)) {
    const std::size_t stem = path.size() - kExtension.size();
    const std::size_t part = begin_of_part_number(std::string_view(path).substr(0, stem));
    path.erase(part, stem - part);
  }
  return path + ".profile.toml";
}

std::string checksum_line(std::string_view text) {
  return fmt::format("{}{:016x}\n", kLastLine, XXH3_64bits(text.data(), text.size()));
}

std::string to_toml(const ExpertProfile& profile) {
  std::string text = fmt::format("{}{}\n{}\n", kFirstLine, kProfileVersion, kExplanation);
  text +=
      fmt::format("replayed_tokens = {}  # that the curves come from\n\n", profile.replayed_tokens);
  text += to_toml(profile.model);
  for (const Workload& workload : profile.workloads)
    text += fmt::format("\n[[workload]]\nlabel = {}\ntokens = {}\ngenerated = {}\n",
                        quoted(workload.label), workload.tokens, workload.generated);
  for (const LayerProfile& layer : profile.layers)
    write_layer(text, layer, &layer != &profile.layers.back());
  for (const PolicyCurve& curve : profile.curves) write_curve(text, curve);
  text += '\n';
  return text + checksum_line(text);
}

ExpertProfile parse_profile(std::string_view text, const std::string& name) {
  check_envelope(text, name);
  const toml::table parsed = parse_toml(text, name);
  TableReader root(parsed, name);
  ExpertProfile profile;
  profile.replayed_tokens = root.count("replayed_tokens", {0, kMostTokens});
  profile.model = read_model_identity(root.table("model"));
  profile.workloads = read_workloads(root);
  profile.layers = read_layers(root, profile.model, profile.tokens());
  for (TableReader& table : root.tables("curve")) profile.curves.push_back(read_curve(table));
  root.finish();
  return profile;
}

ExpertProfile load_profile(const std::string& path) {
  return parse_profile(read_small_file(path, kMostProfileBytes), path);
}

void save_profile(const std::string& path, const ExpertProfile& profile) {
  replace_file(path, to_toml(profile));
}

void check_profile_of(const ExpertProfile& profile, const ModelIdentity& model,
                      const std::string& path) {
  const std::optional<std::string> different = difference(profile.model, model);
  if (different)
    throw_error(ErrorCode::kBadInput,
                "{}: the profile {}; record one for this model or name another file",
                printable(path), *different);
}

void check_profile_of(const ExpertProfile& profile, const ModelIdentity& model,
                      const std::vector<std::uint32_t>& experts_of_layer, const std::string& path) {
  check_profile_of(profile, model, path);
  if (!same_shape(profile, empty_profile(model, experts_of_layer)))
    throw_error(ErrorCode::kBadFile,
                "{}: the profile has other layers or experts than the model it names; record it "
                "again",
                printable(path));
}

}  // namespace hearth::profiler
