// What the tensors say of experts is what the models say that are built from them.
#include "runtime/block_experts.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "io/gguf_writer.h"
#include "runtime/engine.h"
#include "runtime/model.h"

namespace hearth::runtime {
namespace {

namespace fs = std::filesystem;

TEST(BlockExperts, AreThoseOfTheModelForEveryArchitecture) {
  std::size_t files = 0;
  for (const auto& entry : fs::directory_iterator(HEARTH_SOURCE_DIR "/tests/golden")) {
    if (entry.path().extension() != ".gguf") continue;
    SCOPED_TRACE(entry.path().filename());
    const io::GgufFile file = io::GgufFile::open(entry.path(), block_shape_of);
    const std::vector<BlockExperts> blocks = experts_of_blocks(file);
    const auto model = build_model(file);
    ASSERT_EQ(blocks.size(), model->experts.layers());
    for (std::uint32_t i = 0; i < blocks.size(); ++i) {
      const LayerExperts& layer = model->experts.layer(static_cast<LayerIndex>(i));
      EXPECT_EQ(blocks[i].count, layer.count) << "block " << i;
      EXPECT_EQ(blocks[i].bytes, Bytes(layer.count > 0 ? layer.bytes() * layer.count : 0))
          << "block " << i;
    }
    ++files;
  }
  EXPECT_GT(files, 20u);
}

}  // namespace
}  // namespace hearth::runtime
