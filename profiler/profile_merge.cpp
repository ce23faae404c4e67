#include "profiler/profile_merge.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/error.h"

namespace hearth::profiler {
namespace {

void check_same_model(const NamedProfile& found, const NamedProfile& first) {
  const std::optional<std::string> different = difference(found.profile.model, first.profile.model);
  if (different)
    throw_error(ErrorCode::kBadInput,
                "{}: cannot be merged with {}: it {}; merge profiles of one model",
                printable(found.name), printable(first.name), *different);
  if (!same_shape(found.profile, first.profile))
    throw_error(ErrorCode::kBadInput,
                "{}: cannot be merged with {}: its layers or experts are others; record it again",
                printable(found.name), printable(first.name));
}

// Sums of what two summaries kept of each expert.
void add_partners(std::array<Partner, kPartners>& sum,
                  const std::array<Partner, kPartners>& added) {
  std::array<Partner, 2 * kPartners> all;
  auto end = std::copy(sum.begin(), sum.end(), all.begin());
  for (const Partner& partner : added) {
    if (partner.count == 0) continue;
    const auto same = std::find_if(all.begin(), end, [&](const Partner& other) {
      return other.count != 0 && other.expert == partner.expert;
    });
    if (same == end)
      *end++ = partner;
    else
      same->count += partner.count;
  }
  // Of equals the lower number first, so that the order of merging does not matter.
  std::sort(all.begin(), end, [](const Partner& a, const Partner& b) {
    return a.count != b.count ? a.count > b.count : a.expert < b.expert;
  });
  std::copy_n(all.begin(), kPartners, sum.begin());
}

void add_layer(LayerProfile& sum, const LayerProfile& added) {
  for (std::size_t i = 0; i < sum.experts.size(); ++i) {
    ExpertHistory& expert = sum.experts[i];
    expert.count += added.experts[i].count;
    expert.recent = rounded_recent(expert.recent + added.experts[i].recent);
    add_partners(expert.partners, added.experts[i].partners);
  }
  for (std::size_t i = 0; i < kReuseBuckets; ++i) sum.reuse[i] += added.reuse[i];
}

void add_workload(std::vector<Workload>& sum, const Workload& added) {
  const auto same = std::find_if(sum.begin(), sum.end(),
                                 [&](const Workload& one) { return one.label == added.label; });
  if (same == sum.end()) {
    sum.push_back(added);
  } else {
    same->tokens += added.tokens;
    same->generated += added.generated;
  }
}

void add(ExpertProfile& sum, const NamedProfile& added) {
  const ExpertProfile& profile = added.profile;
  if (profile.tokens() > kMostTokens - sum.tokens())
    throw_error(ErrorCode::kBadInput,
                "{}: the merged profile would have more than {} tokens; merge fewer",
                printable(added.name), kMostTokens);
  if (sum.model.samples == 0) sum.model.samples = profile.model.samples;
  for (const Workload& workload : profile.workloads) add_workload(sum.workloads, workload);
  for (std::size_t nth = 0; nth < sum.layers.size(); ++nth)
    add_layer(sum.layers[nth], profile.layers[nth]);
}

}  // namespace

MergedProfile merge_profiles(std::span<const NamedProfile> profiles) {
  if (profiles.empty()) throw_error(ErrorCode::kUsage, "no profiles to merge; name at least one");
  for (const NamedProfile& one : profiles) check_same_model(one, profiles.front());

  const auto recorded = [](const NamedProfile& one) { return one.profile.tokens() > 0; };
  const auto only = std::find_if(profiles.begin(), profiles.end(), recorded);
  const bool keeps_curves = std::count_if(profiles.begin(), profiles.end(), recorded) <= 1;

  MergedProfile merged{profiles.front().profile, {}};
  for (const NamedProfile& one : profiles.subspan(1)) add(merged.profile, one);
  merged.profile.curves.clear();
  merged.profile.replayed_tokens = 0;
  if (keeps_curves && only != profiles.end()) {
    merged.profile.curves = only->profile.curves;
    merged.profile.replayed_tokens = only->profile.replayed_tokens;
  }
  for (const NamedProfile& one : profiles)
    if (!keeps_curves && !one.profile.curves.empty())
      merged.notes.push_back(
          fmt::format("the hit rates in {} were left out: those of a mixture do not follow from "
                      "those of its parts; hearth profile check with a trace measures them",
                      printable(one.name)));
  return merged;
}

}  // namespace hearth::profiler
