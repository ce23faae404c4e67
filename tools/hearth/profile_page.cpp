#include "tools/hearth/profile_page.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "profiler/profile_skew.h"
#include "tools/hearth/html_page.h"

namespace hearth::tools {
namespace {

using Json = nlohmann::ordered_json;

Json layer_json(const profiler::LayerProfile& layer) {
  const profiler::LayerSkew skew = profiler::skew_of(layer);
  Json json = {{"layer", layer.layer},      {"counts", Json::array()},
               {"recent", Json::array()},   {"partners", Json::array()},
               {"reuse", layer.reuse},      {"used", skew.used},
               {"for_half", skew.for_half}, {"for_nine_tenths", skew.for_nine_tenths},
               {"entropy", skew.entropy},   {"gini", skew.gini}};
  for (const profiler::ExpertHistory& expert : layer.experts) {
    json["counts"].push_back(expert.count);
    json["recent"].push_back(expert.recent);
    Json partners = Json::array();
    for (const profiler::Partner& partner : expert.partners)
      if (partner.count > 0) partners.push_back(partner.expert);
    json["partners"].push_back(partners);
  }
  return json;
}

Json curve_json(const profiler::PolicyCurve& curve) {
  Json points = Json::array();
  for (const profiler::HitPoint& point : curve.points)
    points.push_back({point.share, point.hit_rate});
  return {{"policy", curve.policy}, {"points", points}};
}

Json profile_json(const profiler::NamedProfile& named) {
  const profiler::ExpertProfile& profile = named.profile;
  const profiler::ModelIdentity& model = profile.model;
  Json json = {{"name", std::filesystem::path(named.name).filename().string()},
               {"model",
                {{"architecture", model.architecture},
                 {"name", model.name},
                 {"formats", model.formats},
                 {"experts_per_layer", model.experts_per_layer},
                 {"experts_used", model.experts_used}}},
               {"workloads", Json::array()},
               {"replayed_tokens", profile.replayed_tokens},
               {"layers", Json::array()},
               {"curves", Json::array()}};
  for (const profiler::Workload& workload : profile.workloads)
    json["workloads"].push_back({{"label", workload.label},
                                 {"tokens", workload.tokens},
                                 {"generated", workload.generated}});
  for (const profiler::LayerProfile& layer : profile.layers)
    json["layers"].push_back(layer_json(layer));
  for (const profiler::PolicyCurve& curve : profile.curves)
    json["curves"].push_back(curve_json(curve));
  return json;
}

}  // namespace

std::string profile_page(std::span<const profiler::NamedProfile> profiles) {
  Json json = {{"profiles", Json::array()}};
  for (const profiler::NamedProfile& profile : profiles)
    json["profiles"].push_back(profile_json(profile));
  // Labels from a file need not be UTF-8; what is not becomes U+FFFD.
  return html_page("profile.html", json.dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace hearth::tools
