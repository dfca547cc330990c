# SPDX-License-Identifier: Apache-2.0
cmake_minimum_required(VERSION 3.25)
project({{name}} LANGUAGES CXX)
set(CMAKE_CXX_STANDARD 20)
find_package(Threads REQUIRED)
find_package(Protobuf REQUIRED)
find_package(gRPC CONFIG REQUIRED)
add_executable({{name}} {{name}}.cc hone/v1/verifier_service.proto hone/v1/trajectory.proto)
target_link_libraries({{name}} gRPC::grpc++ protobuf::libprotobuf)
target_include_directories({{name}} PRIVATE ${CMAKE_CURRENT_BINARY_DIR})
protobuf_generate(TARGET {{name}} LANGUAGE cpp IMPORT_DIRS ${CMAKE_CURRENT_SOURCE_DIR})
get_target_property(plugin gRPC::grpc_cpp_plugin LOCATION)
protobuf_generate(TARGET {{name}} LANGUAGE grpc GENERATE_EXTENSIONS .grpc.pb.h .grpc.pb.cc
                  PLUGIN "protoc-gen-grpc=${plugin}" IMPORT_DIRS ${CMAKE_CURRENT_SOURCE_DIR})
