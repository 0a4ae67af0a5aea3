package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	csi "github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	kubelet "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// driver stands in for the SPIFFE CSI driver, which is published as an image: it has the same name, and an ephemeral volume is a bind
// mount of the directory that holds the agent's socket. It registers itself with the kubelet.
type driver struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedNodeServer
	kubelet.UnimplementedRegistrationServer
	name, node, endpoint, source string
}

// csiDriver serves until it fails. Arguments: NODE KUBELET_ROOT SOCKET_DIRECTORY.
func csiDriver(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("usage: csi-driver NODE KUBELET_ROOT SOCKET_DIRECTORY")
	}
	d := &driver{name: "csi.spiffe.io", node: args[0], source: args[2]}
	d.endpoint = filepath.Join(args[1], "plugins", d.name, "csi.sock")
	plugin, registrar := grpc.NewServer(), grpc.NewServer()
	csi.RegisterIdentityServer(plugin, d)
	csi.RegisterNodeServer(plugin, d)
	kubelet.RegisterRegistrationServer(registrar, d)
	failed := make(chan error, 2)
	registration := filepath.Join(args[1], "plugins_registry", d.name+"-reg.sock")
	for path, server := range map[string]*grpc.Server{d.endpoint: plugin, registration: registrar} {
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return err
		}
		_ = os.Remove(path)
		listener, err := net.Listen("unix", path)
		if err != nil {
			return err
		}
		go func() { failed <- server.Serve(listener) }()
	}
	return <-failed
}

func (d *driver) GetInfo(context.Context, *kubelet.InfoRequest) (*kubelet.PluginInfo, error) {
	return &kubelet.PluginInfo{
		Type:              kubelet.CSIPlugin,
		Name:              d.name,
		Endpoint:          d.endpoint,
		SupportedVersions: []string{"1.0.0"},
	}, nil
}

func (d *driver) NotifyRegistrationStatus(_ context.Context, s *kubelet.RegistrationStatus) (*kubelet.RegistrationStatusResponse, error) {
	fmt.Fprintf(os.Stderr, "registered: %v %s\n", s.PluginRegistered, s.Error)
	return &kubelet.RegistrationStatusResponse{}, nil
}

func (d *driver) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: d.name, VendorVersion: "stand-in"}, nil
}

func (d *driver) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	return &csi.GetPluginCapabilitiesResponse{}, nil
}

func (d *driver) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{}, nil
}

func (d *driver) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: d.node}, nil
}

func (d *driver) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	return &csi.NodeGetCapabilitiesResponse{}, nil
}

func (d *driver) NodePublishVolume(_ context.Context, r *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	if r.VolumeContext["csi.storage.k8s.io/ephemeral"] != "true" || !r.Readonly {
		return nil, status.Error(codes.InvalidArgument, "only ephemeral, read-only volumes")
	}
	if err := os.Mkdir(r.TargetPath, 0o750); err != nil && !os.IsExist(err) {
		return nil, status.Error(codes.Internal, err.Error())
	}
	if err := unix.Mount(d.source, r.TargetPath, "", unix.MS_BIND, ""); err != nil {
		return nil, status.Errorf(codes.Internal, "bind %s: %v", r.TargetPath, err)
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

func (d *driver) NodeUnpublishVolume(_ context.Context, r *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	if err := unix.Unmount(r.TargetPath, 0); err != nil && err != unix.EINVAL && err != unix.ENOENT {
		return nil, status.Errorf(codes.Internal, "unmount %s: %v", r.TargetPath, err)
	}
	if err := os.Remove(r.TargetPath); err != nil && !os.IsNotExist(err) {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}
