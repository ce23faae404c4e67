#include "tools/hearth/expert_log.h"

#include <nlohmann/json.hpp>
#include <set>

namespace hearth::tools {

void ExpertLog::add(const profiler::Routing& routing) {
  Layer& layer = layers_[routing.layer];
  for (std::uint32_t row = 0; row < routing.rows; ++row) {
    const std::size_t begin = std::size_t{row} * routing.experts_per_row;
    const auto ids = routing.experts.subspan(begin, routing.experts_per_row);
    const auto weights = routing.weights.subspan(begin, routing.experts_per_row);
    layer.ids.emplace_back(ids.begin(), ids.end());
    layer.weights.emplace_back(weights.begin(), weights.end());
  }
}

std::string ExpertLog::json() const {
  nlohmann::ordered_json json = {{"n_expert", config_.experts},
                                 {"n_expert_used", config_.experts_used},
                                 {"layers", nlohmann::ordered_json::array()},
                                 {"order", "descending selection score"},
                                 {"experts_used_per_layer", nlohmann::ordered_json::array()},
                                 {"ids", nlohmann::ordered_json::object()},
                                 {"weights", nlohmann::ordered_json::object()}};
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const Layer& layer = layers_[l];
    if (layer.ids.empty()) continue;
    std::set<std::uint16_t> distinct;
    for (const auto& ids : layer.ids) distinct.insert(ids.begin(), ids.end());
    json["layers"].push_back(l);
    json["experts_used_per_layer"].push_back(distinct.size());
    json["ids"][std::to_string(l)] = layer.ids;
    json["weights"][std::to_string(l)] = layer.weights;
  }
  return json.dump() + '\n';
}

}  // namespace hearth::tools
